import { dirname } from 'node:path'

/** What one program may touch on macOS. All paths absolute and real: the kernel compares those that links lead to. */
export interface SeatbeltInit {
  /** The one program that may run. */
  program: string
  /** Files, and directories with all that is in them. */
  readOnly: readonly string[]
  /** Directories, with all that is in them. */
  writable: readonly string[]
}

/** A profile for `sandbox-exec`. Paths are parameters: whatever they contain, none of it is read as a rule. */
export interface SeatbeltProfile {
  text: string
  parameters: readonly (readonly [name: string, value: string])[]
}

/** What every program needs to start: the loader, its libraries and the cache that they lie in. */
const system = ['/usr/lib', '/System/Library', '/System/Volumes/Preboot/Cryptexes', '/private/preboot/Cryptexes']
/**
 * What the C library, the Rust one, LLVM and the canary's Node.js ask of the kernel: processors, memory, versions. Not the name of this machine,
 * and not the arguments and the environment of other processes (`kern.procargs2`).
 */
const sysctls = [
  ...['hw.activecpu', 'hw.byteorder', 'hw.cacheconfig', 'hw.cachelinesize', 'hw.cachelinesize_compat', 'hw.cpufamily'],
  ...[
    'hw.cpusubfamily',
    'hw.cpusubtype',
    'hw.cputype',
    'hw.logicalcpu',
    'hw.logicalcpu_max',
    'hw.machine',
    'hw.memsize',
  ],
  ...['hw.ncpu', 'hw.nperflevels', 'hw.pagesize', 'hw.pagesize_compat', 'hw.physicalcpu', 'hw.physicalcpu_max'],
  ...['hw.tbfrequency', 'hw.tbfrequency_compat', 'kern.argmax', 'kern.maxfilesperproc', 'kern.osproductversion'],
  ...['kern.osrelease', 'kern.ostype', 'kern.osvariant_status', 'kern.osversion', 'kern.usrstack64', 'kern.version'],
  ...['sysctl.proc_cputype', 'sysctl.proc_translated'],
]
/** Of each capability of a processor, and of each kind of them, one. */
const sysctlPrefixes = ['hw.optional.', 'hw.perflevel']
const devices = ['/dev/null', '/dev/random', '/dev/urandom']

/**
 * All is forbidden but what is named: no network, no other process, no service of the system, nothing of the user's files. Directories
 * above what is named can be asked for by name and not be listed, because programs resolve their paths. The later rule counts.
 */
export function seatbeltProfile({ program, readOnly, writable }: SeatbeltInit): SeatbeltProfile {
  const parameters: [string, string][] = []
  const parameter = (letter: string, value: string): string => {
    const name = `${letter}${parameters.length}`
    parameters.push([name, value])
    return `(param "${name}")`
  }
  const all = (letter: string, filter: string, paths: readonly string[]): string[] =>
    paths.map((path) => `  (${filter} ${parameter(letter, path)})`)
  const ran = parameter('PROGRAM', program)
  const above = new Set([program, ...readOnly, ...writable].flatMap(directoriesAbove))
  const given = all('READ', 'subpath', readOnly)
  const mapped = [`  (literal ${ran})`, ...given, ...system.map((path) => `  (subpath "${path}")`)]
  const made = all('WRITE', 'subpath', writable)
  const lines = [
    '(version 1)',
    '(deny default)',
    '(allow sysctl-read',
    ...sysctls.map((name) => `  (sysctl-name "${name}")`),
    ...sysctlPrefixes.map((name) => `  (sysctl-name-prefix "${name}")`),
    ')',
    '(allow signal (target self))',
    `(allow process-exec* (literal ${ran}))`,
    '(allow file-read*',
    ...mapped,
    ...devices.map((path) => `  (literal "${path}")`),
    ')',
    ...["(if (defined? 'file-map-executable)", ' (allow file-map-executable', ...mapped, '))'],
    '(allow file-read-metadata',
    ...all('ABOVE', 'literal', [...above].sort()),
    ')',
    '(allow file-write-data (literal "/dev/null"))',
    ...(made.length === 0 ? [] : ['(allow file-read* file-write*', ...made, ')']),
    '(deny file-write-setugid)',
    '(deny file-link)',
    '(deny file-write-create (vnode-type SYMLINK))',
    '(deny process-fork)',
    '(deny network*)',
  ]
  return { text: `${lines.join('\n')}\n`, parameters }
}

function directoriesAbove(path: string): string[] {
  const above = dirname(path)
  return above === path ? [] : [...directoriesAbove(above), above]
}

/** The arguments of `sandbox-exec` before those of the program. */
export const seatbeltOptions = (profile: SeatbeltProfile, file: string): string[] => [
  ...['-f', file],
  ...profile.parameters.flatMap(([name, value]) => ['-D', `${name}=${value}`]),
]
