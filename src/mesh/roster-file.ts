import { createHash } from 'node:crypto'
import { readdir, rename } from 'node:fs/promises'
import { join } from 'node:path'
import { encode } from '@ipld/dag-cbor'
import { z } from 'zod'
import { codeOf, ShoalError } from '../base/errors.ts'
import { writeDurably } from '../store/durable.ts'
import { decodeCbor } from '../wire/cbor.ts'
import { decodeGenesis } from './genesis.ts'
import { readPrivateFile } from './private-file.ts'
import { Roster } from './roster.ts'
import { maxStatements } from './roster-places.ts'
import { maxStatementBytes, sameBytes } from './statement.ts'

const fileName = 'roster'
const asideName = `${fileName}.damaged`
const maxObjectBytes = (maxStatements + 1) * (maxStatementBytes + 3) + 64
const maxFileBytes = 65 + 4 * Math.ceil(maxObjectBytes / 3) + 1

const statement = z.instanceof(Uint8Array).refine((bytes) => bytes.length <= maxStatementBytes)
const schema = z.strictObject({
  v: z.literal(1),
  genesis: statement,
  statements: z.array(statement).max(maxStatements),
})

/**
 * Writes `STATE/roster`, durably: the hex SHA-256 of what follows, a line feed, base64 of one dag-cbor object.
 * @param own the certificate of this node, kept even when its time seems to be over
 */
export async function saveRoster(stateDir: string, roster: Roster, now: number, own?: Uint8Array): Promise<void> {
  const statements = roster.bytesOf(roster.ids(now))
  const isKept =
    own === undefined || statements.length >= maxStatements || statements.some((bytes) => sameBytes(bytes, own))
  if (!isKept) statements.push(own)
  const object = encode({ v: 1, genesis: roster.genesis.bytes, statements })
  await writeDurably(join(stateDir, fileName), `${sumOf(object)}\n${Buffer.from(object).toString('base64')}\n`)
}

/**
 * Reads `STATE/roster`. A damaged one is put aside, and as long as it lies there nothing takes its place by itself: without
 * its revocations this node would let in whom the others shut out.
 * @throws ShoalError ERR_NO_MESH when there is none; ERR_ROSTER_DAMAGED; ERR_CONFIG when others may read it
 */
export async function loadRoster(stateDir: string, now: number): Promise<Roster> {
  const file = join(stateDir, fileName)
  let text: string
  try {
    text = await readPrivateFile(file, maxFileBytes)
  } catch (error) {
    if (codeOf(error) !== 'ENOENT') throw error
    const aside = (await namesIn(stateDir)).find((name) => name.startsWith(asideName))
    if (aside === undefined) throw new ShoalError('ERR_NO_MESH', `${file} does not exist`)
    throw new ShoalError('ERR_ROSTER_DAMAGED', `${join(stateDir, aside)} was put aside and nothing was restored`)
  }
  try {
    return readRoster(text)
  } catch (error) {
    if (!(error instanceof ShoalError)) throw error
    const aside = join(stateDir, `${asideName}-${now}`)
    await rename(file, aside)
    throw new ShoalError('ERR_ROSTER_DAMAGED', `${aside}: ${error.message}`, { cause: error })
  }
}

function readRoster(text: string): Roster {
  const [sum = '', base64 = ''] = text.split('\n', 2)
  const object = Buffer.from(base64, 'base64')
  if (sumOf(object) !== sum || text !== `${sum}\n${object.toString('base64')}\n`) {
    throw new ShoalError('ERR_DECODE', 'the checksum is wrong')
  }
  const { genesis, statements } = decodeCbor(new Uint8Array(object), schema, maxObjectBytes)
  const roster = new Roster(decodeGenesis(genesis))
  for (const bytes of statements) {
    try {
      roster.restore(bytes)
    } catch (error) {
      // Nothing is damaged: an earlier version took in what none of today does, here or elsewhere.
      if (codeOf(error) !== 'ERR_ROLE') throw error
    }
  }
  return roster
}

async function namesIn(dir: string): Promise<string[]> {
  try {
    return await readdir(dir)
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return []
    throw error
  }
}

function sumOf(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex')
}
