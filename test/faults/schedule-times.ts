/** What the worker under test and its child agree on. */
export const booksOpenOn = '2025-03-01'
/** BullMQ gives a silent worker's job away after so long, and the run ledger its claim. */
export const lockMs = 1_000
export const leaseMs = 1_200
