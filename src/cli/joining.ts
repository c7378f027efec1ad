import { foreignText } from '../base/errors.ts'
import { confirmed, isPerson } from './confirm.ts'
import { daemonOnce, type OnWord } from './daemon-program.ts'
import { type Io, note, print } from './io.ts'
import { counted } from './render.ts'
import { type Membership, membershipShape, shaped, type Word, wordShape } from './shapes.ts'

export interface JoiningOptions {
  /** Ask the person nothing. */
  yes?: true
  /** Standard output is for JSON alone. */
  json?: true
}

/**
 * Makes this machine a member: by a link, or of a mesh on the local network, with the person's help.
 * @param init.mesh which one, when several are heard
 * @param init.name what other members see; default: the host name
 * @throws ShoalError as the daemon program reports it
 */
export async function join(
  io: Io,
  init: { link?: string | undefined; mesh?: string | undefined; name?: string | undefined },
  options: JoiningOptions,
): Promise<Membership> {
  const given = Object.fromEntries(Object.entries(init).filter(([, value]) => value !== undefined))
  return shaped(membershipShape, await daemonOnce(io, { action: 'join', ...given }, wordsFor(io, options)), 'join')
}

/** What is said while the mesh is asked; a question is answered with yes where nobody can be asked. */
function wordsFor(io: Io, options: JoiningOptions): OnWord {
  const say = (line: string): void => (options.json ? note(io, line) : print(io, line))
  const asks = isPerson(io) && !options.yes
  return (value) => {
    const word = shaped(wordShape, value, 'join')
    if (word.word === 'code') {
      for (const line of codeLines(word)) say(line)
      return undefined
    }
    return asks ? confirmed(io, questionOf(word)) : Promise.resolve(true)
  }
}

function codeLines({ mesh, code = '' }: Word): string[] {
  return [
    `Say ${code.slice(0, 3)} ${code.slice(3)} to somebody of ${foreignText(mesh)}, who types: shoal approve ${code}`,
    'Waiting, for five minutes at most.',
  ]
}

function questionOf({ word, mesh, code = '', members = 0 }: Word): string {
  const name = foreignText(mesh)
  if (word === 'leaves') {
    const left = counted(members, 'other member')
    return `This machine is the only administrator of ${name}, with ${left}: nobody can be let in there or shut out without it. Go all the same?`
  }
  if (word === 'open')
    return `${name} is open: it lets in whoever finds it, and whoever is in it sees what you build. Join it?`
  return `${name} says that somebody has typed ${code}. Have they told you so?`
}
