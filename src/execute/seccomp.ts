import { absent, forbidden, judged, type SyscallNumbers, unsupported } from './syscalls.ts'

export type SeccompArch = 'x64' | 'arm64'

/** `AUDIT_ARCH_*` of linux/audit.h. */
const auditArch = { x64: 0xc000003e, arm64: 0xc00000b7 } as const
const x32Bit = 0x40000000
const column = { x64: 0, arm64: 1 } as const

/** Classic BPF: opcode, jump offsets when the test holds and when it does not, operand. */
type Instruction = readonly [code: number, yes: number, no: number, operand: number]
const load = (offset: number): Instruction => [0x20, 0, 0, offset]
const equal = (value: number, yes: number, no: number): Instruction => [0x15, yes, no, value]
const atLeast = (value: number, yes: number, no: number): Instruction => [0x35, yes, no, value]
const anyBit = (mask: number, yes: number, no: number): Instruction => [0x45, yes, no, mask]
const give = (action: number): Instruction => [0x06, 0, 0, action]

const kill = give(0x80000000)
const allow = give(0x7fff0000)
const errno = (value: number): Instruction => give(0x00050000 | value)
const [notPermitted, notATerminal, notImplemented, notSupported] = [errno(1), errno(25), errno(38), errno(95)]

/** Offsets in `struct seccomp_data`; the low half of an argument on a little-endian machine. */
const offset = { number: 0, arch: 4, argument: (index: number): number => 16 + 8 * index } as const

const newNamespaces = 0x7e020000
const thread = 0x00010000
/** `CLONE_FILES`: with a table of descriptors for each thread there is no limit on their number, nor on what the kernel keeps for them. */
const sameFiles = 0x00000400
/** `CLONE_VFORK`: the parent waits for the child's exec or end. */
const untilExec = 0x00004000
const setIds = 0o6000
/**
 * FIONREAD, FIONBIO, FIONCLEX, FIOCLEX. Nothing else is answered by a pipe, by `/dev/null` or by a plain file, but by the file system that it
 * lies in: btrfs makes subvolumes and snapshots for anybody, others have flags that keep a file from being removed.
 */
const requests = [0x541b, 0x5421, 0x5450, 0x5451] as const
/**
 * F_SETLEASE makes the owner wait who opens a file, F_SETPIPE_SZ takes from what pipes of this user may hold. Of locks on parts of a file
 * (F_SETLK, F_SETLKW, F_OFD_SETLK, F_OFD_SETLKW) and of F_NOTIFY there is no end, and what the kernel keeps of them counts as nobody's.
 */
const fileControl = [6, 7, 37, 38, 1024, 1026, 1031] as const
/** Of `mmap`: memory that stays when nobody has it mapped, and pages that the owner has set aside, are no part of what a process is seen to use. */
const [mapShared, mapAnonymous, mapHuge] = [0x01, 0x20, 0x40000]
/** `CLOSE_RANGE_UNSHARE`: as a thread without `CLONE_FILES`. */
const ownFiles = 0x2
/**
 * PR_SET_DUMPABLE: whoever has it off keeps to itself what it writes. PR_SET_SECCOMP: programs for the kernel. PR_SCHED_CORE keeps others off
 * the other half of a processor.
 */
const processControl = [4, 22, 62] as const

/**
 * The system call filter of a compile, as the bytes that bubblewrap's `--seccomp` reads: everything is allowed but the
 * lists of `syscalls.ts`, with EPERM, ENOSYS, EOPNOTSUPP or, of a request to a device, ENOTTY; another architecture's calls end the process.
 * @param startsPrograms whether rustc may start what it takes for a linker
 */
export function seccompFilter(arch: SeccompArch, { startsPrograms = false } = {}): Uint8Array {
  const program: Instruction[] = [load(offset.arch), equal(auditArch[arch], 1, 0), kill, load(offset.number)]
  if (arch === 'x64') program.push(atLeast(x32Bit, 0, 1), kill)
  const answers: Answer[] = []
  for (const number of numbers(forbidden, arch)) answers.push([number, [notPermitted]])
  for (const number of numbers(absent, arch)) answers.push([number, [notImplemented]])
  for (const number of numbers(unsupported, arch)) answers.push([number, [notSupported]])
  const judge = (call: SyscallNumbers, body: Instruction[]): void => {
    const number = call[column[arch]]
    if (number !== null) answers.push([number, body])
  }
  // A new thread of this process in its own namespaces, or nothing; or a child that stands still until it is another program.
  judge(judged.clone, [
    load(offset.argument(0)),
    anyBit(newNamespaces, startsPrograms ? 3 : 2, 0),
    ...(startsPrograms ? [anyBit(untilExec, 3, 0)] : []),
    anyBit(thread, 0, 1),
    anyBit(sameFiles, 1, 0),
    notPermitted,
    allow,
  ])
  judge(judged.mmap, [
    load(offset.argument(3)),
    anyBit(mapHuge, 2, 0),
    anyBit(mapAnonymous, 0, 2),
    anyBit(mapShared, 0, 1),
    notPermitted,
    allow,
  ])
  judge(judged.close_range, [load(offset.argument(2)), anyBit(ownFiles, 0, 1), notPermitted, allow])
  const withMode = (index: number): Instruction[] => [
    load(offset.argument(index)),
    anyBit(setIds, 0, 1),
    notPermitted,
    allow,
  ]
  judge(judged.chmod, withMode(1))
  judge(judged.fchmod, withMode(1))
  judge(judged.fchmodat, withMode(2))
  judge(judged.fchmodat2, withMode(2))
  const among = (
    index: number,
    values: readonly number[],
    answer: { one: Instruction; other: Instruction },
  ): Instruction[] => [
    load(offset.argument(index)),
    ...values.map((value, at) => equal(value, values.length - at, 0)),
    answer.other,
    answer.one,
  ]
  judge(judged.ioctl, among(1, requests, { one: allow, other: notATerminal }))
  judge(judged.fcntl, among(1, fileControl, { one: notPermitted, other: allow }))
  judge(judged.prctl, among(0, processControl, { one: notPermitted, other: allow }))
  program.push(...search(answers.sort(([a], [b]) => a - b)))
  return assemble(program)
}

/** What is done about a system call: instructions that end with giving something, whatever happens. */
type Answer = readonly [number: number, body: readonly Instruction[]]

/** So few are looked at one after the other. */
const fewAnswers = 4

/**
 * Finds the answer to the number of a call by halves. When the kernel is given a filter it runs it once for each call that there is, to know
 * which are always allowed: with all answers in a row that took 0.3 ms, twice for each guest.
 * @param answers sorted by number
 */
function search(answers: readonly Answer[]): Instruction[] {
  if (answers.length <= fewAnswers) {
    return [...answers.flatMap(([number, body]) => [equal(number, 0, body.length), ...body]), allow]
  }
  const middle = answers.length >> 1
  const [below, from] = [search(answers.slice(0, middle)), search(answers.slice(middle))]
  return [atLeast(answers[middle]?.[0] ?? 0, below.length, 0), ...below, ...from]
}

function* numbers(table: Readonly<Record<string, SyscallNumbers>>, arch: SeccompArch): Generator<number> {
  for (const call of Object.values(table)) {
    const number = call[column[arch]]
    if (number !== null) yield number
  }
}

function assemble(program: readonly Instruction[]): Uint8Array {
  const bytes = Buffer.alloc(program.length * 8)
  // No jump is longer than a byte can say: `writeUInt8` would throw.
  for (const [index, [code, yes, no, operand]] of program.entries()) {
    bytes.writeUInt16LE(code, index * 8)
    bytes.writeUInt8(yes, index * 8 + 2)
    bytes.writeUInt8(no, index * 8 + 3)
    bytes.writeUInt32LE(operand, index * 8 + 4)
  }
  return bytes
}
