import { existsSync } from 'node:fs'
import { basename, join } from 'node:path'
import type { CID } from 'multiformats/cid'
import { cidOf } from '../wire/cid.ts'
import type { StatDigests } from './stat-digests.ts'

/**
 * Names a program that drives the compiler in rustc's place, such as clippy-driver. What cargo names may be rustup's proxy,
 * which starts the program of that name in the sysroot, so the content of both counts.
 * @throws the file system's error when it is not there
 */
export async function driverDigest(path: string, sysroot: string, digests: StatDigests): Promise<CID> {
  const own = join(sysroot, 'bin', basename(path))
  const parts = await Promise.all([path, ...(existsSync(own) ? [own] : [])].map((part) => digests.digest(part)))
  return cidOf(Buffer.concat(parts.map(({ cid }) => cid.bytes)))
}
