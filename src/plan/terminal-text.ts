/** How rustc colours its words: bold, faint, italic and underlined, and colours of the text. Nothing that hides it. */
const colours = String.raw`\[(?:(?:38;5;\d{1,3}|[0-4]|2[2-4]|3[1-79]|9[1-7])(?:;|(?=m)))*m`
/** What a terminal obeys (rustc lets the second dozen of these through) or, for the last ones, lets text run the other way. */
const others = String.raw`\0-\u0008\u000b-\u001a\u001c-\u001f\u007f-\u009f\u202a-\u202e\u2066-\u2069`
const odd = new RegExp(String.raw`\u001b(?!${colours})|[${others}]`, 'g')
/** The same as JSON may write it. */
const oddEscape = new RegExp(
  String.raw`\\(?:u001[bB](?!${colours})|u00(?:0[0-8b-fB-F]|1[0-9ac-fAC-F]|7[fF]|[89][0-9a-fA-F])|u20(?:2[a-eA-E]|6[6-9])|[bfr])`,
)
/** Of a line that somebody made for it, a parser makes fifty times as much memory. */
const maxLine = 1 << 20

/**
 * What rustc is said to have written to standard error, with pictures in place of what a terminal would obey, as rustc itself has
 * them: in the text that a JSON diagnostic has for people, and in lines that are no JSON. What rustc writes stays as it is.
 */
export function fitForTerminal(text: string): string {
  return isOdd(text) ? text.split('\n').map(fitLine).join('\n') : text
}

/** Whether a terminal would obey something in a text, or show it in another order than it stands there: colours of words are nothing of that. */
export const isObeyed = (text: string): boolean => text.search(odd) >= 0

const isOdd = (text: string): boolean => isObeyed(text) || oddEscape.test(text)

function fitLine(line: string): string {
  if (!isOdd(line)) return line
  if (!line.startsWith('{')) return shown(line)
  if (line.length > maxLine) return ''
  try {
    const told: unknown = JSON.parse(line, (key, value: unknown) =>
      key === 'rendered' && typeof value === 'string' ? shown(value) : value,
    )
    // What cargo does not take for a diagnostic it shows as it is.
    return shown(JSON.stringify(told))
  } catch (error) {
    // The latter: nested without end.
    if (error instanceof SyntaxError || error instanceof RangeError) return shown(line)
    throw error
  }
}

/** As rustc shows a control character in a source line. */
const shown = (text: string): string =>
  text.replace(odd, (character) => {
    const code = character.charCodeAt(0)
    return code < 0x20 ? String.fromCharCode(0x2400 + code) : code === 0x7f ? '\u2421' : '\ufffd'
  })
