import { type Certificate, type Issuer, issueCertificate, type Role } from '../../src/mesh/certificate.ts'
import { type SigningKey, signingKey } from '../../src/mesh/ed25519.ts'
import { createGenesis, type Genesis } from '../../src/mesh/genesis.ts'
import { Roster } from '../../src/mesh/roster.ts'

export const start = Date.UTC(2026, 0, 1)
export const hour = 3_600_000
export const day = 24 * hour

/** The same number, the same key. */
export const keyOf = (number: number): SigningKey => signingKey(new Uint8Array(32).fill(number))

/** 16 bytes that look like none other. */
export const serialOf = (number: number): Uint8Array => {
  const serial = new Uint8Array(16)
  new DataView(serial.buffer).setUint32(12, number)
  return serial
}

export const trusted: Role[] = ['member', 'lender', 'inviter', 'admin']
export const inviting: Role[] = ['member', 'lender', 'inviter']
export const plain: Role[] = ['member', 'lender']

/** A person's key and certificate, ready to sign. */
export type Person = Issuer & { certificate: Certificate }

/** A mesh of a founder (ann), an inviter (ivy) and a member (max), each let in by the one before. */
export interface Office {
  genesis: Genesis
  root: Issuer
  ann: Person
  ivy: Person
  max: Person
  /** Lets somebody in. */
  hire(by: Issuer, number: number, roles: readonly Role[], now?: number, name?: string): Person
  /** A roster that knows these. */
  roster(...people: readonly Person[]): Roster
}

export function office(name = 'office'): Office {
  const rootKey = keyOf(1)
  const genesis = createGenesis({ name, open: false, nonce: serialOf(1) }, rootKey, start)
  let serial = 100
  const hire = (by: Issuer, number: number, roles: readonly Role[], now = start, called = `n${number}`): Person => {
    const key = keyOf(number)
    serial += 1
    const init = { subject: key.publicKey, name: called, roles, serial: serialOf(serial) }
    return { genesis, key, certificate: issueCertificate(by, init, now) }
  }
  const root = { genesis, key: rootKey }
  const ann = hire(root, 2, trusted, start, 'ann')
  const ivy = hire(ann, 3, inviting, start, 'ivy')
  const max = hire(ivy, 4, plain, start, 'max')
  const roster = (...people: readonly Person[]): Roster => {
    const made = new Roster(genesis)
    for (const { certificate } of people) made.add(certificate.bytes, start)
    return made
  }
  return { genesis, root, ann, ivy, max, hire, roster }
}

/** How many inputs a fuzz test tries: `SHOAL_FUZZ`, or 100 000. */
export const fuzzRuns = Number(process.env.SHOAL_FUZZ ?? 100_000)
