import { createHash } from 'node:crypto'
import { lstatSync, statSync } from 'node:fs'
import { dirname, posix } from 'node:path'
import type { CID } from 'multiformats/cid'
import { codeOf } from '../base/errors.ts'
import type { Read, ReadSet } from '../plan/action.ts'
import { holdsPassword, isSecretItself } from '../plan/environment.ts'
import { calledRoots, nameRoots, placeRoots, type Root } from '../plan/roots.ts'
import { cidFromDigest } from '../wire/cid.ts'

/** What of a place is compared for runs of build scripts alone. */
interface Surroundings {
  env: ReadonlyMap<string, string>
  roots: readonly Root[]
}

/** As an `environ` is called of a script that started nothing but tools. */
export const ofSession = 'session'
/** The same where a shell, make or whatever else ran, which takes variables without asking for them. */
export const ofShells = 'shells'

/** Whether somebody ran who takes all variables, wherever it is a question of what was made of them. */
export const takesAllVariables = ({ reads }: Pick<ReadSet, 'reads'>): boolean =>
  reads.some(([kind, name]) => kind === 'environ' && name === ofShells)

/** Of the process, of the observer, or of how cargo starts just this. */
const ofProcess = /^(_|SHLVL|OLDPWD|CARGO_MAKEFLAGS|SHOAL\w*|LD_LIBRARY_PATH)$/

/** Which terminal, login or session it is: other in each, and nothing that anybody builds from. */
const ofTerminal =
  /^(WINDOWID|COLUMNS|LINES|SSH_\w+|XDG_(SESSION|RUNTIME|SEAT|VTNR)\w*|DISPLAY|WAYLAND_\w+|XAUTHORITY|DBUS_\w+|INVOCATION_ID|JOURNAL_STREAM|SYSTEMD_\w+|MANAGERPID|GPG_\w+|TMUX\w*|STY|TERM_SESSION_ID|ITERM\w*|VTE_\w+|KONSOLE\w*|GNOME_TERMINAL\w*|VSCODE_\w+|HIST\w+)$/

/**
 * Variables of whoever sits there. A program that asks for one by its name has it in the trace; only a script that goes through all
 * variables and makes something of these could come out otherwise.
 */
const ofPerson =
  /^(BASH_FUNC_.*|\w+\(\)|HOME|PATH|PWD|MAIL|HOSTNAME|HOST_?TYPE|TERM\w*|COLORTERM|EDITOR|VISUAL|PAGER|LESS\w*|LS_COLORS|PS[1-4]|PROMPT\w*|GNOME_\w+|INIT_CWD|CARGO|CARGO_HOME|RUSTUP_\w+|RUSTC_WRAPPER|RUSTC_WORKSPACE_WRAPPER|NUM_JOBS|CARGO_TERM_\w+|CARGO_BUILD_JOBS)$/

/** What is asked for by calls: no variables, but told among them by whoever looks at a place. */
export const ofMachine = { host: 'gethostname()', system: 'uname()', kernel: 'kernel()' } as const
/** As the shim of this node is called among the variables, wherever it lies. */
export const shimName = 'shoal'
const machineNames: ReadonlySet<string> = new Set(Object.values(ofMachine))

/** Whether a variable says something of who sits there, or at which terminal. */
export const isOfPerson = (name: string): boolean => ofPerson.test(name) || ofTerminal.test(name)

/**
 * Whether there is a secret in what the digests of an environment are made of: who has one of these, and all but the secret, can try what
 * it may be.
 */
export function hasSecret(env: ReadonlyMap<string, string>): boolean {
  return [...env].some(
    ([name, value]) =>
      value !== '' && !ofProcess.test(name) && !ofTerminal.test(name) && (isSecretItself(name) || holdsPassword(value)),
  )
}

/** Of the environment, for a script that started nothing but tools: without what belongs to a session. */
export function sessionDigest(place: Surroundings): CID {
  return digestOf(place, (name) => !ofProcess.test(name) && !ofTerminal.test(name) && !ofPerson.test(name))
}

/** Of the environment as a whole, but for what no two processes or terminals share. */
export function shellsDigest(place: Surroundings): CID {
  // What a machine is called and runs on is no variable: who asks for it has it in the trace.
  return digestOf(place, (name) => !ofProcess.test(name) && !ofTerminal.test(name) && !machineNames.has(name))
}

/** Values that are in no digest, and long enough to be known where they are written down. */
export function unsaidValues(env: ReadonlyMap<string, string>): string[] {
  const isUnsaid = ([name, value]: [string, string]): boolean => ofTerminal.test(name) && value.length >= 8
  return [...env].filter(isUnsaid).map(([, value]) => value)
}

/** A jobserver of make's is another one each time, and says nothing of what is made. */
const ofJobs = /(^|\s)(-j\d*|--jobserver-(auth|fds)=\S*)(?=\s|$)/g

export const isFlagsOfMake = (name: string): boolean => name === 'MAKEFLAGS' || name === 'MFLAGS'
/** What of them is not about how many may work at once. */
export const withoutJobs = (flags: string): string => flags.replace(ofJobs, '').trim()

function digestOf({ env, roots }: Surroundings, counts: (name: string) => boolean): CID {
  const called = calledRoots(roots)
  const target = roots.find(({ name }) => name === 'target')?.path
  const lines = [...env].flatMap(([name, value]) => {
    if (!counts(name)) return []
    if (isFlagsOfMake(name)) {
      const flags = withoutJobs(value)
      return flags === '' ? [] : `${name}=${flags}`
    }
    // Where cargo was started: mostly around the target directory, wherever that lies.
    const around = target === undefined ? undefined : dirname(target)
    if (name === 'PWD' && value === around) return `${name}=\0around\0`
    return `${name}=${nameRoots(value, called)}`
  })
  return digestOfLines(lines)
}

const ofSystem = /^\/(usr|bin|sbin|lib|lib64|etc|nix\/store|gnu\/store)(\/|$)/

/**
 * Of what was looked at outside of the system: which of it, and of the directories on the way, are links, what may be done with it, and how
 * many names a file has.
 * @param reads of the trace itself
 */
export function sortsDigest(reads: readonly Read[], { roots }: Pick<Surroundings, 'roots'>): CID {
  const names = new Set<string>()
  for (const [kind, name] of reads) {
    if (kind !== 'file' && kind !== 'dir' && kind !== 'list' && kind !== 'link') continue
    const plain = posix.normalize(name)
    if (ofSystem.test(plain)) continue
    for (let at = plain; at.includes('/') && at !== '/' && !names.has(at); at = posix.dirname(at)) names.add(at)
  }
  return digestOfLines([...names].map((name) => `${name}\0${sortAt(placeRoots(name, roots), name.startsWith('\0'))}`))
}

/** @param isOwn whether directories are made by whoever unpacks or checks out what was looked at */
function sortAt(path: string, isOwn: boolean): string {
  try {
    const own = lstatSync(path)
    const stat = own.isSymbolicLink() ? statSync(path) : own
    const kind = stat.isDirectory() ? 'dir' : stat.isFile() ? 'file' : 'other'
    const mode = stat.isDirectory() && !isOwn ? '' : (stat.mode & 0o7777).toString(8)
    const names = stat.isFile() && stat.nlink > 1 ? ` ${stat.nlink}` : ''
    return `${own.isSymbolicLink() ? 'link ' : ''}${kind} ${mode}${names}`
  } catch (error) {
    if (codeOf(error) === undefined) throw error
    return 'nothing'
  }
}

/** As the `sorts` is called that are times. */
export const ofTimes = 'times'

/** When something was changed last, µs since the Unix epoch: nobody here can give a file a time more exactly. */
export const microseconds = ({ mtimeNs }: { mtimeNs: bigint }): number => Number(mtimeNs / 1000n)

/** When the files that a trace names were changed last. */
export function timesDigest(reads: readonly Read[], { roots }: Pick<Surroundings, 'roots'>): CID {
  const named = reads.filter(([kind]) => kind === 'file').map(([, name]) => name)
  return digestOfLines(named.map((name) => `${name}\0${timeAt(placeRoots(name, roots))}`))
}

/** Of what is not there any more none. */
export function timeAt(path: string): number | null {
  try {
    return microseconds(statSync(path, { bigint: true }))
  } catch (error) {
    if (codeOf(error) === undefined) throw error
    return null
  }
}

export function digestOfLines(lines: string[]): CID {
  return cidFromDigest(createHash('sha256').update(lines.sort().join('\0')).digest())
}
