/**
 * Files that root writes for a program that runs as another account. That account may have put a link wherever it may write, so root writes only below
 * folders that are its own, makes every file anew beside its place, and follows no link. The account gets the folders of its data, and nothing above them.
 */
import { randomUUID } from 'node:crypto'
import { chmodSync, lchownSync, lstatSync, mkdirSync, readdirSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { dirname, join, relative, sep } from 'node:path'
import { ConfigError } from '#core/errors.ts'
import type { Account } from './plan.ts'

export type AccountFiles = { readonly folders: readonly string[]; readonly files: Readonly<Record<string, string>> }

/** The account may add files of its own to these, and change or remove none of ours. */
const sharedMode = 0o1775
const ownMode = 0o755

/** `home`: the program's folder, in one that the account may not write to. Throws ConfigError where a link stands in place of a folder. */
export function writeAccountFiles({ folders, files }: AccountFiles, account: Account, home: string): void {
  claimHome(home)
  for (const [file, text] of Object.entries(files)) {
    for (const folder of foldersBetween(home, dirname(file))) ownFolder(folder, account)
    writeAnew(file, text)
  }
  for (const folder of folders) giveFolder(folder, account)
}

/** Earlier versions gave all of it to the account. */
function claimHome(home: string): void {
  const stat = folderAt(home)
  if (stat === undefined) mkdirSync(home, { recursive: true })
  else if (!isOurs(stat)) lchownSync(home, ourUid(), ourGid())
  chmodSync(home, ownMode)
}

/** Of files that we write. What the account had made of it is removed: all that matters of it is written again. */
function ownFolder(folder: string, account: Account): void {
  const stat = lstatSync(folder, { throwIfNoEntry: false })
  if (stat !== undefined && (!stat.isDirectory() || !isOurs(stat))) rmSync(folder, { recursive: true })
  mkdirSync(folder, { recursive: true })
  lchownSync(folder, ourUid(), account.gid)
  chmodSync(folder, sharedMode)
}

function giveFolder(folder: string, account: Account): void {
  const stat = folderAt(folder)
  if (stat === undefined) mkdirSync(folder)
  if (stat?.uid !== account.uid) giveTo(account, folder)
}

function giveTo({ uid, gid }: Account, path: string): void {
  const isDirectory = lstatSync(path).isDirectory()
  // What it holds goes first: once the folder is given away, a link may take the place of anything in it.
  if (isDirectory) for (const name of readdirSync(path)) giveTo({ uid, gid }, join(path, name))
  lchownSync(path, uid, gid)
}

function folderAt(path: string) {
  const stat = lstatSync(path, { throwIfNoEntry: false })
  if (stat !== undefined && !stat.isDirectory()) throw new ConfigError(`${path} must be a folder, and is a link or a file: remove it, or choose another --data folder.`)
  return stat
}

function writeAnew(file: string, text: string): void {
  const draft = `${file}.${randomUUID()}`
  writeFileSync(draft, text, { flag: 'wx' })
  renameSync(draft, file)
}

/** `conf` and `conf/more` of `conf/more`. */
function foldersBetween(home: string, folder: string): readonly string[] {
  const names = relative(home, folder).split(sep)
  return names.map((_, i) => join(home, ...names.slice(0, i + 1)))
}

function isOurs({ uid }: { readonly uid: number }): boolean {
  return uid === ourUid()
}

function ourUid(): number {
  return process.geteuid?.() ?? 0
}

function ourGid(): number {
  return process.getegid?.() ?? 0
}
