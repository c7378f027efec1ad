/** One block of what `shoal why` prints. */
export interface WhyBlock {
  title: string
  /** Label and text, in their order; values that stand below each other are joined as on one line. */
  entries: [string, string][]
}

export function readWhy(stdout: string): WhyBlock[] {
  return stdout
    .trimEnd()
    .split('\n\n')
    .map((block) => {
      const [title = '', ...lines] = block.split('\n')
      const entries: [string, string][] = []
      for (const line of lines) {
        const [, label = '', text = ''] = /^ {2}(.{9})(.*)$/.exec(line) ?? []
        const last = entries.at(-1)
        if (label.trim() !== '' || last === undefined) entries.push([label.trim(), text])
        else last[1] += `${/: was /.test(last[1]) ? ', ' : ': '}${text.trim()}`
      }
      return { title, entries }
    })
}

/** Of a block that has one. */
export const because = (block: WhyBlock | undefined): string | undefined =>
  block?.entries.find(([label]) => label === 'because')?.[1]
