/**
 * Preloaded into a process: its wall clock is wrong by SKEW_MS, and, as after a correction by NTP, every SKEW_STEP_MS it jumps to the other side. Timers
 * and performance.now keep their own time, as on a real machine.
 */
const skewMs = Number(process.env['SKEW_MS'])
const stepMs = Number(process.env['SKEW_STEP_MS'] ?? 0)
const RealDate = Date

function skewedNow(): number {
  const isBack = stepMs > 0 && Math.floor(performance.now() / stepMs) % 2 === 1
  return RealDate.now() + (isBack ? -skewMs : skewMs)
}

globalThis.Date = class extends RealDate {
  constructor(...parts: ConstructorParameters<typeof RealDate> | []) {
    if (parts.length === 0) super(skewedNow())
    else super(...parts)
  }

  static override now(): number {
    return skewedNow()
  }
} as DateConstructor
