/**
 * Every way in which Shoal can fail, by code. A code is permanent: it is never reused for another failure, and
 * `src/README.md` lists each one (a test compares the two).
 */
export const errorTable = {
  ERR_ADMISSION: { title: 'action refused', hint: 'This node runs only the rustc options on its allow-list.' },
  ERR_BLOCK_MISMATCH: { title: 'block does not match its CID', hint: 'The bytes were thrown away; nothing to do.' },
  ERR_BLOCK_MISSING: { title: 'block not found', hint: 'The unit is compiled here instead.' },
  ERR_BLOCK_TOO_LARGE: { title: 'block is larger than allowed', hint: 'The unit is compiled here instead.' },
  ERR_CHAIN_LENGTH: {
    title: 'too many certificates in a row',
    hint: 'Let an administrator nearer to the root issue it.',
  },
  ERR_CLAIM: { title: 'nobody stands behind a result', hint: 'The unit is compiled here instead.' },
  ERR_CLONED: {
    title: 'one key on two machines',
    hint: 'Run `shoal rekey` on one of them; the other one needs a new link.',
  },
  ERR_CONFIG: {
    title: 'configuration cannot be used',
    hint: 'Correct the named file, or remove it to use the defaults.',
  },
  ERR_DAEMON_DOWN: { title: 'the node is not running', hint: 'Start it with `shoal up`.' },
  ERR_DAEMON_RUNNING: { title: 'a node already runs here', hint: 'Stop it with `shoal down` first.' },
  ERR_DEADLINE: { title: 'took too long', hint: 'The next way was tried.' },
  ERR_DECODE: {
    title: 'message cannot be decoded',
    hint: 'The sender runs another version, or the bytes are corrupt.',
  },
  ERR_DISK_FULL: { title: 'no room on the disk', hint: 'Free some space; until then nothing new is kept.' },
  ERR_DISPUTED: { title: 'members say different things of a result', hint: 'The unit is compiled here instead.' },
  ERR_EXPIRED: {
    title: 'no longer valid',
    hint: 'Is the clock right? Otherwise ask for a new invitation: `shoal invite`.',
  },
  ERR_FOLLOWED: {
    title: 'another key was certified in place of this one',
    hint: 'Run `shoal rekey` on that machine: its node is started again, with the new key.',
  },
  ERR_FRAME: { title: 'frame cannot be read', hint: 'The sender runs another version, or the bytes are corrupt.' },
  ERR_INPUT_MISSING: { title: 'an input is missing', hint: 'The unit is compiled here instead.' },
  ERR_INTERNAL: { title: 'unexpected failure', hint: 'Please report it with the log.' },
  ERR_INVITE: { title: 'invitation link cannot be used', hint: 'Ask for a new link: `shoal invite`.' },
  ERR_INVITE_BURNED: {
    title: 'the invitation was burned',
    hint: 'Somebody has guessed at it. Ask for a new link: `shoal invite`.',
  },
  ERR_INVITE_UNKNOWN: {
    title: 'the invitation is not known',
    hint: 'Is it for this mesh? It lasts a day. Ask for a new link: `shoal invite`.',
  },
  ERR_INVITE_USED: {
    title: 'the invitation was already used',
    hint: 'Each is good for one machine. Ask for a new link: `shoal invite`.',
  },
  ERR_ISSUER_UNKNOWN: { title: 'nobody in this mesh stands behind it', hint: 'Join the mesh again with a new link.' },
  ERR_LEASE_LOST: { title: 'a lender fell silent', hint: 'Its unit runs elsewhere.' },
  ERR_LIAR: {
    title: 'a member has given something that is not so',
    hint: 'Nothing of it is used any more: `shoal peers`. Shut it out with `shoal kick NAME`.',
  },
  ERR_LIMIT: { title: 'a limit was reached', hint: 'The unit is compiled on the machine that builds it.' },
  ERR_MESH_OUTDATED: {
    title: 'the mesh is from before members had certificates',
    hint: 'Run `shoal init` on one machine and `shoal join LINK` on the others; the old file is kept.',
  },
  ERR_NOT_CANONICAL: {
    title: 'not in canonical form',
    hint: 'The sender runs another version, or somebody has changed the bytes.',
  },
  ERR_NOT_MEMBER: { title: 'not a member of this mesh', hint: 'Join it: `shoal join LINK`.' },
  ERR_NOT_YET_VALID: { title: 'not valid yet', hint: 'Is the clock right, here and there?' },
  ERR_NO_MESH: { title: 'this machine belongs to no mesh yet', hint: 'Run `shoal init`, or `shoal join` to join one.' },
  ERR_OTHER_MESH: { title: 'of another mesh', hint: 'Each mesh needs an invitation of its own.' },
  ERR_OUTPUT: { title: 'an output of a compile cannot be accepted', hint: 'The unit is compiled here instead.' },
  ERR_PATH_BOUND: { title: 'the result holds paths of one machine', hint: 'The unit is compiled here and not shared.' },
  ERR_PEER_LOST: { title: 'a peer went away', hint: 'The next way was tried.' },
  ERR_RECOVERY_PHRASE: {
    title: 'the recovery phrase cannot be used',
    hint: 'It is 24 words, in the order in which `shoal init` printed them.',
  },
  ERR_REPLAYED: {
    title: 'made for another key or connection',
    hint: 'Nothing to do; somebody may be trying the credentials of another.',
  },
  ERR_REVOKED: {
    title: 'shut out of this mesh',
    hint: 'Ask for a new link, `shoal invite`, and join with it: this machine gets a new key.',
  },
  ERR_ROLE: { title: 'not for its issuer to decide', hint: 'Ask an administrator of the mesh.' },
  ERR_ROSTER_DAMAGED: {
    title: 'the list of members is damaged',
    hint: 'Restore the named file from a backup, or join the mesh again.',
  },
  ERR_ROSTER_FULL: { title: 'the list of members is full', hint: '`shoal kick --issued` whoever has filled it.' },
  ERR_SANDBOX: {
    title: 'the sandbox cannot be used',
    hint: 'Install bubblewrap 0.8 or newer: `apt install bubblewrap`.',
  },
  ERR_SHIM_BUILD: {
    title: 'the shim cannot be compiled',
    hint: 'Is a Rust toolchain installed? Try `rustc --version`.',
  },
  ERR_SIGNATURE: { title: 'wrong signature', hint: 'Nothing to do; it was thrown away.' },
  ERR_STORE: { title: 'the store cannot be used', hint: 'Check the permissions and the disk of the cache directory.' },
  ERR_TOOLCHAIN: { title: 'toolchain not usable', hint: 'The unit is compiled on the machine that builds it.' },
  ERR_UNSUPPORTED: { title: 'not handled by Shoal', hint: 'rustc runs here, as without Shoal.' },
  ERR_USAGE: { title: 'wrong usage', hint: 'See `shoal --help`.' },
} as const satisfies Record<string, { title: string; hint: string }>

export type ErrorCode = keyof typeof errorTable

/** Whether a text is one of the codes. */
export const isErrorCode = (code: string): code is ErrorCode => Object.hasOwn(errorTable, code)

/** Upper bound for text that another machine sent us inside an error. */
const maxForeignText = 400

export interface ShoalErrorOptions {
  /** What the person can do; the table's hint when absent. */
  hint?: string
  cause?: unknown
}

/** A failure with a permanent code. Match on `code`, never on the class or the message. */
export class ShoalError extends Error {
  override readonly name = 'ShoalError'
  readonly code: ErrorCode
  readonly hint: string

  constructor(code: ErrorCode, message: string, options: ShoalErrorOptions = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause })
    this.code = code
    this.hint = options.hint ?? errorTable[code].hint
  }
}

/** The `code` of anything that was thrown: ours (`ERR_…`), Node's (`ENOENT`), or undefined. */
export function codeOf(error: unknown): string | undefined {
  if (typeof error !== 'object' || error === null || !('code' in error)) return undefined
  return typeof error.code === 'string' ? error.code : undefined
}

/** Wraps anything thrown into a ShoalError; one that already is passes through unchanged. */
export function toShoalError(error: unknown, fallback: ErrorCode = 'ERR_INTERNAL'): ShoalError {
  if (error instanceof ShoalError) return error
  const code = codeOf(error)
  const message = error instanceof Error ? error.message : String(error)
  if (code === 'ENOSPC' || code === 'EDQUOT') return new ShoalError('ERR_DISK_FULL', message, { cause: error })
  return new ShoalError(fallback, message, { cause: error })
}

/** Controls, and what has no width or turns the text around it. */
const unprintable = /[\u0000-\u001f\u007f-\u009f\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]/g

/** One line of text that other machines may have chosen parts of, such that nothing in it steers a terminal or hides what is there. */
export const printable = (text: string): string => text.replace(unprintable, ' ')

/** Text from a peer, made harmless for a terminal or a log: `printable`, and of bounded length. */
export function foreignText(text: string): string {
  const clean = printable(text)
  return clean.length > maxForeignText ? `${clean.slice(0, maxForeignText)}…` : clean
}
