/** What the first program of a guest does before it becomes the guest's own. */
export interface Entry {
  /** Of that process and whatever it starts, each for good. */
  limits: readonly Limit[]
  /** Root becomes this user and group, and nothing but that, for good. */
  become?: {
    user: number
    /** The highest capability that this kernel has: `/proc/sys/kernel/cap_last_cap`. */
    lastCapability: number
  }
  /** Path and arguments of the guest's own; none of them may hold a NUL. */
  program: readonly string[]
}

export interface Limit {
  of: keyof typeof resources
  value: number
  /** Whether the kernel may refuse it, as it does where this process itself may have less already. Default: it may not. */
  isOptional?: boolean
}

/** As Linux numbers them on x86-64 and arm64. `tasks`: of the user, in this user namespace; bytes, and seconds of the processor. */
const resources = { cpu: 0, fileSize: 1, data: 2, core: 4, tasks: 6, files: 7, signals: 11 } as const

export type EntryArch = 'x64' | 'arm64'

/** System calls by number, on x86-64 and arm64. */
const calls = {
  capset: [126, 91],
  execve: [59, 221],
  exit_group: [231, 94],
  prctl: [157, 167],
  prlimit64: [302, 261],
  setgroups: [116, 159],
  setresgid: [119, 149],
  setresuid: [117, 147],
} as const
const column = { x64: 0, arm64: 1 } as const
type Call = readonly [name: keyof typeof calls, ...args: number[]]
interface Step {
  call: Call
  isChecked: boolean
}

const [dropBounding, noNewPrivileges] = [24, 38]
/** What the program ends with when the kernel refuses one of its calls. */
const refused = 125

const base = 0x400000
const [headerBytes, programHeaderBytes] = [64, 56]
/** A header and two sets of capabilities; then come limits, a `rlimit64` each, arguments, and the code. */
const [rightsOffset, limitsOffset] = [176, 208]
const capabilityVersion = 0x20080522

/**
 * A program, as the bytes of an ELF file, that makes a few system calls and then becomes `program`, with the environment as it
 * is. It is for what can be set or given up inside of a sandbox only, and it has neither a loader nor libraries: there may be
 * none inside, and what the environment has a loader do is meant for the guest's own program.
 */
export function entryProgram(arch: EntryArch, { limits, become, program }: Entry): Uint8Array {
  const limit = ({ of, isOptional = false }: Limit, at: number): Step => ({
    call: ['prlimit64', 0, resources[of], base + limitsOffset + 16 * at, 0],
    isChecked: !isOptional,
  })
  const steps = limits.map(limit)
  if (become !== undefined) {
    const { user, lastCapability } = become
    const all: Call[] = []
    for (let capability = 0; capability <= lastCapability; capability++) all.push(['prctl', dropBounding, capability])
    // What root may is gone with the number, and what it could have left to others after that.
    all.push(['setgroups', 0, 0], ['setresgid', user, user, user], ['setresuid', user, user, user])
    all.push(['capset', base + rightsOffset, base + rightsOffset + 8])
    all.push(['prctl', noNewPrivileges, 1, 0, 0, 0])
    steps.push(...all.map((call) => ({ call, isChecked: true })))
  }
  const argumentsOffset = limitsOffset + 16 * limits.length
  const argv = argumentVector(program, base + argumentsOffset)
  const codeOffset = argumentsOffset + argv.bytes.length
  const last: Last = { argv: base + argumentsOffset, path: argv.first }
  const code = arch === 'x64' ? codeX64(steps, last) : codeArm64(steps, last)
  const file = Buffer.alloc(codeOffset + code.length)
  // Source: ELF-64 object file format, figures 2 and 6.
  file.write('\x7fELF\x02\x01\x01', 'latin1')
  file.writeUInt16LE(2, 16)
  file.writeUInt16LE(arch === 'x64' ? 62 : 183, 18)
  file.writeUInt32LE(1, 20)
  file.writeBigUInt64LE(BigInt(base + codeOffset), 24)
  file.writeBigUInt64LE(BigInt(headerBytes), 32)
  for (const [at, value] of [
    [52, headerBytes],
    [54, programHeaderBytes],
    [56, 2],
    [58, 64],
  ] as const)
    file.writeUInt16LE(value, at)
  const segment = (at: number, [type, flags, address, size, align]: readonly number[]): void => {
    file.writeUInt32LE(type ?? 0, at)
    file.writeUInt32LE(flags ?? 0, at + 4)
    for (const place of [16, 24]) file.writeBigUInt64LE(BigInt(address ?? 0), at + place)
    for (const place of [32, 40]) file.writeBigUInt64LE(BigInt(size ?? 0), at + place)
    file.writeBigUInt64LE(BigInt(align ?? 0), at + 48)
  }
  // The whole file, to be read and executed; and a stack that is not executable.
  segment(headerBytes, [1, 5, base, file.length, 0x10000])
  segment(headerBytes + programHeaderBytes, [0x6474e551, 6, 0, 0, 16])
  for (const [n, { value }] of limits.entries())
    for (const at of [0, 8]) file.writeBigUInt64LE(BigInt(value), limitsOffset + 16 * n + at)
  file.writeUInt32LE(capabilityVersion, rightsOffset)
  argv.bytes.copy(file, argumentsOffset)
  code.copy(file, codeOffset)
  return file
}

/**
 * Pointers to the arguments, a null one, and the arguments, as they lie at `address`; filled up so that code may follow.
 * @returns with the address of the first argument; of an empty one when there is none
 */
function argumentVector(program: readonly string[], address: number): { bytes: Buffer; first: number } {
  const texts = program.map((text) => Buffer.from(`${text}\0`))
  const pointers = Buffer.alloc(8 * (texts.length + 1))
  let at = address + pointers.length
  for (const [n, text] of texts.entries()) {
    pointers.writeBigUInt64LE(BigInt(at), 8 * n)
    at += text.length
  }
  const rest = Buffer.alloc(-(at - address) & 7)
  const first = texts.length === 0 ? address : address + pointers.length
  return { bytes: Buffer.concat([pointers, ...texts, rest]), first }
}

/** Addresses of what it becomes. */
interface Last {
  argv: number
  path: number
}

/** Where a check stands it is known how far it is to the end, where the program gives up, only when all that lies between is there. */
function codeX64(steps: readonly Step[], last: Last): Buffer {
  const code: number[] = []
  const word = (value: number): unknown =>
    code.push(value & 0xff, (value >>> 8) & 0xff, (value >>> 16) & 0xff, value >>> 24)
  // mov eax, imm32 and mov r, imm32, which clear the upper halves: rdi, rsi, rdx, r10, r8.
  const move = [[0xbf], [0xbe], [0xba], [0x41, 0xba], [0x41, 0xb8]]
  const call = ([name, ...args]: Call): void => {
    for (const [at, value] of args.entries()) {
      code.push(...(move[at] ?? []))
      word(value)
    }
    code.push(0xb8)
    word(calls[name][column.x64])
    code.push(0x0f, 0x05)
  }
  const checks: number[] = []
  for (const step of steps) {
    call(step.call)
    if (!step.isChecked) continue
    // test rax, rax; jne to the end
    code.push(0x48, 0x85, 0xc0, 0x0f, 0x85)
    checks.push(code.length)
    word(0)
  }
  // mov rax, [rsp]; lea rdx, [rsp + rax * 8 + 16]; the other two are known
  code.push(0x48, 0x8b, 0x04, 0x24, 0x48, 0x8d, 0x54, 0xc4, 0x10)
  call(['execve', last.path, last.argv])
  const end = code.length
  call(['exit_group', refused])
  const bytes = Buffer.from(code)
  // Counted from what follows.
  for (const at of checks) bytes.writeInt32LE(end - (at + 4), at)
  return bytes
}

function codeArm64(steps: readonly Step[], last: Last): Buffer {
  const code: number[] = []
  // movz and movk: xN becomes a number of 32 bits.
  const move = (register: number, value: number): unknown =>
    code.push(0xd2800000 + (value & 0xffff) * 32 + register, 0xf2a00000 + (value >>> 16) * 32 + register)
  const supervisor = 0xd4000001
  const call = ([name, ...args]: Call): void => {
    for (const [at, value] of args.entries()) move(at, value)
    move(8, calls[name][column.arm64])
    code.push(supervisor)
  }
  const checks: number[] = []
  for (const step of steps) {
    call(step.call)
    if (step.isChecked) checks.push(code.push(0) - 1)
  }
  // ldr x9, [sp]; add x1, sp, #16; add x2, x1, x9, lsl #3
  code.push(0xf94003e9, 0x910043e1, 0x8b090c22)
  call(['execve', last.path, last.argv])
  // cbnz x0 to the end, counted in instructions from this one
  for (const at of checks) code[at] = 0xb5000000 + (code.length - at) * 32
  call(['exit_group', refused])
  const bytes = Buffer.alloc(code.length * 4)
  for (const [at, instruction] of code.entries()) bytes.writeUInt32LE(instruction, at * 4)
  return bytes
}
