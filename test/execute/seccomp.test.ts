import assert from 'node:assert/strict'
import { existsSync, readFileSync } from 'node:fs'
import { describe, test } from 'node:test'
import { type SeccompArch, seccompFilter } from '../../src/execute/seccomp.ts'
import { absent, forbidden, judged, type SyscallNumbers, unsupported } from '../../src/execute/syscalls.ts'

const [allow, eperm, enotty] = [0x7fff0000, 0x00050001, 0x00050019]
const [enosys, eopnotsupp, kill] = [0x00050026, 0x0005005f, 0x80000000]
const archOf = { x64: 0xc000003e, arm64: 0xc00000b7 } as const
const column = { x64: 0, arm64: 1 } as const

/** Runs the filter on one call as the kernel would; throws on anything that the kernel's checker would not load. */
function judge(filter: Uint8Array, arch: number, number: number, args: number[] = []): number {
  const view = new DataView(filter.buffer, filter.byteOffset, filter.length)
  const field = (offset: number): number => {
    if (offset === 0) return number
    if (offset === 4) return arch
    const index = (offset - 16) / 8
    assert.ok(Number.isInteger(index) && index >= 0 && index < 6, `load from ${offset}`)
    return (args[index] ?? 0) >>> 0
  }
  let accumulator = 0
  for (let at = 0; at < filter.length / 8; at++) {
    const [code, yes, no] = [view.getUint16(at * 8, true), view.getUint8(at * 8 + 2), view.getUint8(at * 8 + 3)]
    const operand = view.getUint32(at * 8 + 4, true)
    if (code === 0x20) accumulator = field(operand)
    else if (code === 0x06) return operand
    else {
      const holds = { 21: accumulator === operand, 53: accumulator >= operand, 69: (accumulator & operand) !== 0 }[code]
      assert.ok(holds !== undefined, `instruction ${code}`)
      at += holds ? yes : no
    }
  }
  throw new Error('ran past the end')
}

for (const arch of ['x64', 'arm64'] satisfies SeccompArch[]) {
  describe(`the filter for ${arch}`, () => {
    const filter = seccompFilter(arch)
    const on = (number: number, args?: number[]): number => judge(filter, archOf[arch], number, args)

    test('judges every call as listed and allows all others', () => {
      const expected = new Map<number, number>()
      for (const call of Object.values(forbidden)) expected.set(call[column[arch]] ?? -1, eperm)
      for (const call of Object.values(absent)) expected.set(call[column[arch]] ?? -1, enosys)
      for (const call of Object.values(unsupported)) expected.set(call[column[arch]] ?? -1, eopnotsupp)
      const judgedNumbers = new Set<number | null>(Object.values(judged).map((call) => call[column[arch]]))
      for (let number = 0; number < 600; number++) {
        if (!judgedNumbers.has(number)) assert.equal(on(number), expected.get(number) ?? allow, `call ${number}`)
      }
      assert.ok(filter.length / 8 < 4096)
    })

    test('ends a process that calls another way', () => {
      assert.equal(judge(filter, archOf[arch === 'x64' ? 'arm64' : 'x64'], 0), kill)
      assert.equal(judge(filter, 0x40000003, 11), kill)
      if (arch === 'x64') assert.equal(on(0x40000000 + 41), kill)
    })

    test('lets a thread start, and no process and no namespace', () => {
      const clone = judged.clone[column[arch]]
      assert.equal(on(clone, [0x3d0f00]), allow)
      assert.equal(on(clone, [17]), eperm)
      assert.equal(on(clone, [0x4111]), eperm)
      for (const flag of [0x20000, 0x2000000, 0x4000000, 0x8000000, 0x10000000, 0x20000000, 0x40000000]) {
        assert.equal(on(clone, [0x3d0f00 | flag]), eperm)
        assert.equal(on(clone, [flag | 17]), eperm)
      }
    })

    test('lets no thread have descriptors of its own, and nobody memory that is not seen', () => {
      assert.equal(on(judged.clone[column[arch]], [0x3d0f00 & ~0x400]), eperm)
      const starting = seccompFilter(arch, { startsPrograms: true })
      const clone = (flags: number): number => judge(starting, archOf[arch], judged.clone[column[arch]], [flags])
      assert.deepEqual([0x4111, 0x3d0f00, 17, 0x3d0b00, 0x20004111].map(clone), [allow, allow, eperm, eperm, eperm])
      const closing = (flags: number): number => on(judged.close_range[column[arch]], [3, 9, flags])
      assert.deepEqual([0, 4, 2, 6].map(closing), [allow, allow, eperm, eperm])
      // A file, private or shared, a stack; then what is shared and no file, and large pages.
      const mapping = (flags: number): number => on(judged.mmap[column[arch]], [0, 4096, 3, flags, 0, 0])
      assert.deepEqual([0x1, 0x2, 0x22, 0x20022].map(mapping), [allow, allow, allow, allow])
      assert.deepEqual([0x21, 0x23, 0x40022, 0x40002].map(mapping), [eperm, eperm, eperm, eperm])
      const control = (command: number): number => on(judged.fcntl[column[arch]], [3, command])
      assert.deepEqual([6, 7, 37, 38, 1026].map(control), [eperm, eperm, eperm, eperm, eperm])
    })

    test('looks at modes and at terminal requests', () => {
      for (const [call, index] of [
        [judged.chmod, 1],
        [judged.fchmod, 1],
        [judged.fchmodat, 2],
        [judged.fchmodat2, 2],
      ] as const) {
        const number = call[column[arch]]
        if (number === null) continue
        const mode = (value: number): number => on(number, index === 1 ? [0, value] : [0, 0, value])
        assert.deepEqual([mode(0o755), mode(0o4755), mode(0o2755), mode(0o6000)], [allow, eperm, eperm, eperm])
      }
      const ioctl = judged.ioctl[column[arch]]
      // Keystrokes, a subvolume of btrfs, a snapshot, flags of a file; and what is asked of a pipe.
      for (const request of [0x5412, 0x541c, 0x5000940e, 0x50009417, 0x40086602, 0x401c5820, 0x5401])
        assert.equal(on(ioctl, [0, request]), enotty)
      for (const request of [0x541b, 0x5421, 0x5450, 0x5451]) assert.equal(on(ioctl, [0, request]), allow)
      const fcntl = judged.fcntl[column[arch]]
      assert.deepEqual([on(fcntl, [3, 1024]), on(fcntl, [3, 1031]), on(fcntl, [3, 1])], [eperm, eperm, allow])
      // The name of a thread may be set, and what is in its memory not be hidden.
      const prctl = (option: number): number => on(judged.prctl[column[arch]], [option])
      assert.deepEqual([15, 4, 22, 62, 38].map(prctl), [allow, eperm, eperm, eperm, allow])
    })
  })
}

/** The kernel's own lists, where its headers are installed; those of a new architecture such as arm64 are the generic ones. */
const headers = { x64: '/usr/include/x86_64-linux-gnu/asm/unistd_64.h', arm64: '/usr/include/asm-generic/unistd.h' }
for (const [arch, file] of Object.entries(headers)) {
  test(`the numbers for ${arch} are the kernel's`, { skip: existsSync(file) ? false : `no ${file}` }, () => {
    const lines = readFileSync(file, 'utf8').matchAll(/^#define __NR(?:3264)?_(\w+)\s+(\d+)$/gm)
    const known = new Map([...lines].map(([, name = '', number]) => [name, Number(number)]))
    const newest = Math.max(...known.values())
    assert.ok(known.size > 300)
    for (const [name, numbers] of Object.entries<SyscallNumbers>({
      ...forbidden,
      ...absent,
      ...unsupported,
      ...judged,
    })) {
      const number = numbers[arch === 'arm64' ? 1 : 0]
      // Headers may be older than the newest calls, which have one number everywhere.
      if (number !== null && number > newest) assert.equal(numbers[0], numbers[1], name)
      else assert.equal(number, known.get(name) ?? null, name)
    }
  })
}
