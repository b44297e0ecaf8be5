/** Imports under a model run: histories from before the log, each a partition of its own, some of them interrupted and gone on with later. */
import type { Coverage } from './world.ts'
import type { Lab } from '#test/lab.ts'
import type { MeantLine, importFolder } from '#test/lab/imports.ts'
import { importedSale, refusedLine, runLabImport } from '#test/lab/imports.ts'
import { seededRandom } from '#test/lab/random.ts'

export type ImportFolder = Awaited<ReturnType<typeof importFolder>>

/** Imports take their partitions from the highest number downward. */
const partitionMax = 65_535

export class ModelImports {
  readonly #lab: Lab
  readonly #folder: ImportFolder
  readonly #coverage: Coverage
  #begun = 0
  /** Name → file, of those that were interrupted. */
  readonly #open = new Map<string, string>()

  constructor(lab: Lab, folder: ImportFolder, coverage: Coverage) {
    this.#lab = lab
    this.#folder = folder
    this.#coverage = coverage
  }

  async import(lines: number, seed: number, stopAfterChunks: number | null): Promise<void> {
    const random = seededRandom(seed)
    const name = `shop-${this.#begun}`
    const partition = partitionMax - this.#begun++
    const meant: MeantLine[] = Array.from({ length: lines }, (_, n) => {
      if (random.chance(0.1)) return refusedLine(`rubbish ${n}`)
      // A third are copies or conflicts of an id before.
      const id = String(random.below(Math.ceil(lines / 1.5)))
      const month = String(1 + random.below(12)).padStart(2, '0')
      return importedSale(name, { id, at: `2024-${month}-1${random.below(9)} 10:00:00`, city: random.pick(['London', 'Leeds']), product: `P${random.below(4)}`, unitMinor: BigInt(1 + random.below(3)) })
    })
    for (const line of meant) this.#lab.oracle.add(partition, line.meant)
    const file = await this.#folder.write(`${this.#lab.topic}-${name}.csv`, meant)
    this.#open.set(name, file)
    await this.#run(name, stopAfterChunks)
  }

  async finish(): Promise<void> {
    for (const name of this.#open.keys()) await this.#run(name, null)
  }

  async #run(name: string, stopAfterChunks: number | null): Promise<void> {
    await runLabImport(this.#lab, { name, files: [this.#open.get(name)!], ...(stopAfterChunks !== null && { stopAfterChunks }) })
    if (stopAfterChunks !== null) return
    this.#open.delete(name)
    this.#coverage.hit('import finished')
  }
}
