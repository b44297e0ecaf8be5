/** Every bound of the HTTP side, in one place: what a hostile or broken client may cost. */

export const urlBytesMax = 8_192
export const headerBytesMax = 16_384
/** No route takes a body. */
export const bodyBytesMax = 1_024
/** Time to receive a whole request: slow senders are cut off. */
export const requestTimeoutMs = 10_000
export const headersTimeoutMs = 5_000
export const keepAliveTimeoutMs = 5_000
export const connectionsMax = 512
/** Answers being computed or waiting for a connection; beyond it, 503. */
export const answersInFlightMax = 64
/** Seconds that a 503 asks its client to wait. */
export const retryAfterSeconds = 1
export const eventClientsMax = 100
/** How often the live feed looks for a change, so also how often clients hear of one at most. */
export const feedIntervalMs = 500
/** Computing the feed may take at most this share of the time. */
export const feedShareMax = 0.25
export const heartbeatMs = 15_000
/** What an `EventSource` waits before it connects again. */
export const reconnectMs = 2_000
/** A report's file is read whole and checked before the first byte of it is sent. */
export const reportFileBytesMax = 64 * 1024 * 1024
/** So many at a time are held in memory. */
export const reportFilesInFlightMax = 4
/** Characters of one dead letter that are shown. */
export const letterTextMax = 65_536
/** Ports tried when the one asked for is taken. */
export const portTriesMax = 20
