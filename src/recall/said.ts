import { createHash } from 'node:crypto'

/**
 * What rustc said of a unit, in the form in which it is held against what it says elsewhere. Not all of it has to be the same there: how wide
 * a terminal was decides how much of a source line is shown, and where the sources of the standard library are installed, they are shown.
 */
export interface Said {
  /** Of its diagnostics, in whatever order, but for the lines that quote a source. */
  diagnostics: string
  /** Of what is no diagnostic of rustc's: what a macro or a linker writes. */
  beside: string
  /** The words in what is quoted; undefined when there are too many. */
  quoted: readonly string[] | undefined
}

/** Of a line that somebody made for it, a parser makes fifty times as much memory. */
const maxLine = 1 << 20
/** More than a macro in a macro in a macro brings about. */
const maxDepth = 1000
/** In what is quoted: results that wait to be tried keep it in memory. */
const maxQuoted = 16 << 10

/** @param stderr roots by name, as a result has it */
export function saidIn(stderr: Uint8Array): Said {
  const { diagnostics, beside, quoted } = parse(Buffer.from(stderr).toString())
  const words = wordsIn(quoted)
  const isMuch = lengthOf(words) > maxQuoted
  return { diagnostics: digest(diagnostics), beside: digest(beside), quoted: isMuch ? undefined : words }
}

/** How wide rustc here is told that its terminal is when it says something for comparison: nothing is cut short. */
export const widest = '99999'

/**
 * Whether rustc here says what somebody has it say.
 * @param stderr of a run here, as wide as can be
 * @param options beside: whether what is no diagnostic counts as well
 */
export function saysSame(theirs: Said, stderr: Uint8Array, { beside }: { beside: boolean }): boolean {
  const ours = parse(Buffer.from(stderr).toString())
  if (theirs.diagnostics !== digest(ours.diagnostics)) return false
  if (beside && theirs.beside !== digest(ours.beside)) return false
  // Where our own lines are cut short, nobody knows here what else stands there.
  // Too much to be compared is quoted here as well, or somebody has added to it.
  if (theirs.quoted === undefined) return lengthOf(wordsIn(ours.quoted)) > maxQuoted / 2
  const text = ours.text.join('\n')
  // Of a word at the edge of a terminal there may be a part only.
  return theirs.quoted.every((word) => text.includes(word))
}

/** Whether two results have rustc say the same, however wide a terminal was. */
export function sayTheSame(a: Uint8Array, b: Uint8Array): boolean {
  const [one, other] = [saidIn(a), saidIn(b)]
  return one.diagnostics === other.diagnostics && one.beside === other.beside
}

/**
 * Whether rustc has found fault with a source: a reason to fail that lies in what was compiled, not in where.
 * @param usesMacros then only a lint counts: a macro can fail for many a reason
 */
export function findsFault(stderr: Uint8Array, usesMacros: boolean): boolean {
  return Buffer.from(stderr)
    .toString()
    .split('\n')
    .some((line) => {
      const told = diagnosticIn(line)
      if (told?.level !== 'error' || !Array.isArray(told.spans) || told.spans.length === 0) return false
      return !usesMacros || isLint(told.code)
    })
}

const isLint = (code: unknown): boolean => isObject(code) && typeof code.code === 'string' && !/^E\d+$/.test(code.code)

interface Parsed {
  diagnostics: string[]
  beside: string[]
  /** Lines in which sources are quoted. */
  quoted: string[]
  /** All words of the diagnostics. */
  text: string[]
}

function parse(stderr: string): Parsed {
  const parsed: Parsed = { diagnostics: [], beside: [], quoted: [], text: [] }
  // As JSON can have it. No root has a name with a capital letter.
  const named = stderr.replace(/\0([a-z]+)\0/g, '\ue000$1\ue000').replace(ofRust, '\ue000RUST\ue000')
  for (const line of named.split('\n')) {
    if (line === '') continue
    const told = diagnosticIn(line)
    if (told === undefined || isOfLinker(told)) parsed.beside.push(line)
    else parsed.diagnostics.push(JSON.stringify(comparable(told, parsed)))
  }
  return parsed
}

/** Where the standard library's sources are: as its metadata calls it, and where they are installed. */
const ofRust = /(\/rustc\/[0-9a-f]+|\ue000toolchain\ue000\/lib\/rustlib\/src\/rust)(?=\/library\/)/g

/** Undefined for what is none, or is not written as rustc writes it: two parsers could see two things in it. */
function diagnosticIn(line: string): Record<string, unknown> | undefined {
  if (!line.startsWith('{') || line.length > maxLine) return undefined
  try {
    const told: unknown = JSON.parse(line)
    return isObject(told) && !isDeeper(told, maxDepth) && JSON.stringify(told) === line ? told : undefined
  } catch (error) {
    // The latter: nested without end.
    if (error instanceof SyntaxError || error instanceof RangeError) return undefined
    throw error
  }
}

/** What a linker has to say is in a diagnostic too, with newer compilers. */
const isOfLinker = ({ code }: Record<string, unknown>): boolean =>
  isObject(code) && typeof code.code === 'string' && code.code.startsWith('linker_')

/** What of a diagnostic is the same everywhere; what it quotes is added to `parsed`. */
function comparable(value: unknown, parsed: Parsed): unknown {
  if (typeof value === 'string') parsed.text.push(value)
  if (Array.isArray(value)) return value.map((item) => comparable(item, parsed))
  if (!isObject(value)) return value
  const isForeign = isOfRust(value)
  const entries = Object.entries(value).map(([key, item]): [string, unknown] => {
    if (key === 'rendered' && typeof item === 'string') return [key, withoutQuotes(item, parsed, quotesRust(value))]
    return [key, isForeign && !ofForeignSpan.has(key) ? null : comparable(item, parsed)]
  })
  return Object.fromEntries(entries)
}

/** What a span in a source that need not be there has all the same. */
const ofForeignSpan = new Set(['file_name', 'is_primary', 'label', 'suggested_replacement'])

const isOfRust = ({ file_name: file }: Record<string, unknown>): boolean =>
  typeof file === 'string' && file.startsWith('\ue000RUST\ue000')

/** Whether anything in it is about a source of the standard library. */
function quotesRust(value: unknown): boolean {
  if (Array.isArray(value)) return value.some(quotesRust)
  return isObject(value) && (isOfRust(value) || Object.values(value).some(quotesRust))
}

/** The lines of the text for people that do not quote a source, without colours and however far they are set in. */
function withoutQuotes(rendered: string, parsed: Parsed, isOpen: boolean): string[] {
  const lines = rendered.replace(/\u001b\[[\d;]*m/g, '').split('\n')
  parsed.text.push(...lines)
  return lines.flatMap((line) => {
    const text = line.replace(/\s+/g, ' ').trim()
    if (!isQuote.test(line)) return text === '' ? [] : [text]
    if (!isOpen) parsed.quoted.push(text.replace(/^\d+/, ''))
    return []
  })
}

/** `12 | let x;`, `   | ^ label`, `12 + let y;`, `...` */
const isQuote = /^\s*(?:\d+\s*(?:[|│┃~+]|-(?!->))|[|│┃╎]|\.\.\.|…)/

const wordsIn = (lines: readonly string[]): string[] => [
  ...new Set(lines.flatMap((line) => line.match(/[\p{L}\p{N}_]+/gu) ?? [])),
]

const lengthOf = (words: readonly string[]): number => words.reduce((sum, word) => sum + word.length + 1, 0)

/** Whether something is nested further than that: what looks through it would run out of stack. */
function isDeeper(value: unknown, levels: number): boolean {
  if (typeof value !== 'object' || value === null) return false
  return levels === 0 || Object.values(value).some((item) => isDeeper(item, levels - 1))
}

const isObject = (value: unknown): value is Record<string, unknown> => typeof value === 'object' && value !== null

const digest = (lines: readonly string[]): string =>
  createHash('sha256').update(lines.toSorted().join('\n')).digest('base64')
