import { createInterface } from 'node:readline'
import { foreignText, ShoalError } from '../base/errors.ts'
import { answers } from './client.ts'
import { isPerson } from './confirm.ts'
import { daemonOnce, startDaemon } from './daemon-program.ts'
import { type Io, note, print, printJson } from './io.ts'
import { printMembership } from './membership-text.ts'
import { restOf } from './piped.ts'
import { counted } from './render.ts'
import { forgottenRootShape, type Membership, membershipShape, shaped } from './shapes.ts'

export interface RecoverOptions {
  name?: string
  /** Multiaddrs. */
  member?: string[]
  up?: true
  json?: true
}

const maxPhraseBytes = 1024
const phraseWords = 24

/**
 * Makes this machine an administrator of the mesh whose recovery phrase it is told. The phrase is read from standard input, never from
 * arguments, which every user of the machine can see.
 * @throws ShoalError ERR_USAGE without a phrase, ERR_DAEMON_RUNNING, or as the daemon program reports it
 */
export async function recover(io: Io, options: RecoverOptions): Promise<void> {
  const phrase = await phraseOf(io, 'recover')
  const { name, member: members } = options
  const given = Object.fromEntries(Object.entries({ name, members }).filter(([, value]) => value !== undefined))
  const answer = await daemonOnce(io, { action: 'recover', phrase, ...given })
  const membership = shaped(membershipShape, answer, 'init --recover')
  if (options.up) await startDaemon(io)
  if (options.json) return printJson(io, membership)
  printRecovered(io, membership, options.up)
}

/**
 * Takes the root key of the mesh off the disk of this machine, for who has the recovery phrase, which is read as in `recover`.
 * @throws as `recover`
 */
export async function forgetRoot(io: Io, { up, json }: Pick<RecoverOptions, 'up' | 'json'>): Promise<void> {
  const phrase = await phraseOf(io, 'repeat this')
  const forgotten = shaped(
    forgottenRootShape,
    await daemonOnce(io, { action: 'forget-root', phrase }),
    'init --forget-root',
  )
  if (up) await startDaemon(io)
  if (json) return printJson(io, forgotten)
  const { mesh, removed, admins } = forgotten
  print(
    io,
    `The root key of ${foreignText(mesh.name)} is not on this machine any more: the recovery phrase is all that is left of it.`,
  )
  for (const file of removed) print(io, `  removed ${file}`)
  print(
    io,
    `Other administrators: ${admins.map((admin) => foreignText(admin)).join(', ')}. Each of them can shut this machine out for good.`,
  )
  print(io, 'Within a year the mesh needs the phrase once: shoal init --recover')
}

/** @param then what to do once no node runs */
async function phraseOf(io: Io, then: string): Promise<string> {
  if (await answers(io.paths.socket, { signal: io.signal })) {
    throw new ShoalError('ERR_DAEMON_RUNNING', 'the node of this machine is running', {
      hint: `Run \`shoal down\`, ${then}, then \`shoal up\`.`,
    })
  }
  const phrase = isPerson(io) ? await typedPhrase(io) : await restOf(io.stdin, maxPhraseBytes)
  if (phrase.trim() !== '') return phrase
  throw new ShoalError('ERR_USAGE', 'no recovery phrase on standard input', {
    hint: 'It is the 24 words that `shoal init` printed when the mesh was founded.',
  })
}

/** As it was printed: in one line or several, until all words are there or nothing more is said. */
async function typedPhrase(io: Io): Promise<string> {
  note(io, `The ${phraseWords} words of the recovery phrase, in one line or in several:`)
  const lines = createInterface({ input: io.stdin, output: io.stderr, signal: io.signal })
  const words: string[] = []
  try {
    // Lines that are pasted at once all come; an answer to a question would be the first of them alone.
    for await (const line of lines) {
      if (line.trim() === '') break
      words.push(...line.trim().split(/\s+/))
      if (words.length >= phraseWords) break
    }
    return words.join(' ')
  } finally {
    lines.close()
  }
}

function printRecovered(io: Io, membership: Membership, isUp = false): void {
  const { mesh, recovered } = membership
  const name = foreignText(mesh.name)
  printMembership(io, membership, `This machine is an administrator of ${name}, and keeps its root key.`, isUp)
  const { heard = 0, admins = [] } = recovered ?? {}
  if (heard > 0) print(io, `${counted(heard, 'member')} said who belongs to it.`)
  if (admins.length === 0) return
  print(io, `Other administrators: ${admins.map((admin) => foreignText(admin)).join(', ')}.`)
  print(io, 'Whichever of them is lost for good, or may be in foreign hands: shoal kick NAME')
}
