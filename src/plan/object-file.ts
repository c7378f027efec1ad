import { ShoalError } from '../base/errors.ts'

const machines: Readonly<Record<string, number>> = { x86_64: 62, aarch64: 183 }
const relocatable = 1
const headerBytes = 64
const sectionBytes = 64
/** For more sections than fit the header: the first section tells. */
const extendedIndex = 0xffff
const noBits = 8

/**
 * Kinds of sections that compilers write: NULL, PROGBITS, SYMTAB, STRTAB, RELA, NOTE, NOBITS, REL, INIT_ARRAY, FINI_ARRAY,
 * PREINIT_ARRAY, GROUP, SYMTAB_SHNDX, LLVM_ADDRSIG, LLVM_CALL_GRAPH_PROFILE, X86_64_UNWIND. Not those that name libraries
 * or give options to the linker.
 */
const kinds = new Set([0, 1, 2, 3, 4, 7, noBits, 9, 14, 15, 16, 17, 18, 0x6fff4c03, 0x6fff4c09, 0x70000001])

/** What a linker, or a plugin of it, takes for orders or for code that is still to be compiled. */
const orders =
  /^\.(gnu_object_only|gnu\.(lto_|debuglto_|warning|offload_lto)|llvm\.lto|llvmbc|llvmcmd|deplibs|linker-options)/

/**
 * Makes sure that a linker takes this for an object file and nothing else: not for a script, an archive or bitcode, and
 * without anything in it that would have the linker look elsewhere or start something.
 * @throws ShoalError ERR_OUTPUT
 */
export function checkObject(bytes: Buffer, target: string): void {
  const machine = machines[target.split('-')[0] ?? '']
  if (bytes.length < headerBytes || bytes.readUInt32BE(0) !== 0x7f454c46) throw wrong('no object file')
  // 64 bits, little-endian, version 1.
  const isKnown = bytes[4] === 2 && bytes[5] === 1 && bytes[6] === 1
  if (!isKnown || bytes.readUInt16LE(16) !== relocatable || bytes.readUInt16LE(18) !== machine) {
    throw wrong('another kind of object file')
  }
  const table = offsetIn(bytes, 40)
  if (bytes.readUInt16LE(58) !== sectionBytes || table === 0) throw wrong('no sections')
  const first = sectionAt(bytes, table, 0)
  const count = bytes.readUInt16LE(60) || offsetIn(first, 32)
  const named = bytes.readUInt16LE(62)
  const names = contentOf(bytes, sectionAt(bytes, table, named === extendedIndex ? first.readUInt32LE(40) : named))
  for (let at = 0; at < count; at++) {
    const section = sectionAt(bytes, table, at)
    const kind = section.readUInt32LE(4)
    if (!kinds.has(kind)) throw wrong(`a section of kind ${kind}`)
    if (kind !== noBits && kind !== 0) contentOf(bytes, section)
    const name = nameAt(names, section.readUInt32LE(0))
    if (orders.test(name)) throw wrong(`a section ${name.slice(0, 40)}`)
  }
}

function sectionAt(bytes: Buffer, table: number, index: number): Buffer {
  const from = table + index * sectionBytes
  if (from + sectionBytes > bytes.length) throw wrong('a section beyond its end')
  return bytes.subarray(from, from + sectionBytes)
}

function contentOf(bytes: Buffer, section: Buffer): Buffer {
  const [from, size] = [offsetIn(section, 24), offsetIn(section, 32)]
  if (from + size > bytes.length) throw wrong('a section beyond its end')
  return bytes.subarray(from, from + size)
}

function nameAt(names: Buffer, from: number): string {
  const end = names.indexOf(0, from)
  if (from >= names.length || end < 0) throw wrong('a section without a name')
  return names.toString('latin1', from, end)
}

function offsetIn(bytes: Buffer, at: number): number {
  const value = bytes.readBigUInt64LE(at)
  if (value > 1n << 40n) throw wrong('a number beyond its end')
  return Number(value)
}

const wrong = (what: string): ShoalError => new ShoalError('ERR_OUTPUT', `object from a lender: ${what}`)
