import type { z } from 'zod'
import { ShoalError, type ShoalErrorOptions } from '../base/errors.ts'
import { inWords } from '../base/words.ts'

interface Field {
  called: string
  hint?: string
}

const nameHint = 'A name is 1 to 64 bytes of text, such as `anna`.'

/** What people call what they say on a command line, by the name that it has in a request. */
const fields: Readonly<Record<string, Field>> = {
  name: { called: 'the name', hint: nameHint },
  meshName: { called: 'the name of the mesh', hint: nameHint },
  member: { called: 'the member', hint: '`shoal peers` lists the members: say a name of these, or the end of an id.' },
  by: { called: 'the member', hint: '`shoal peers` lists the members: say a name of these, or the end of an id.' },
  mesh: { called: 'the mesh', hint: '`shoal init --check` says which meshes are heard: say the name of one of these.' },
  role: { called: 'the role' },
  code: { called: 'the code', hint: 'A code is six digits, as the other machine shows them: `shoal join` there.' },
  link: { called: 'the link', hint: 'A link is what `shoal invite` prints, in one piece.' },
  phrase: {
    called: 'the recovery phrase',
    hint: 'It is the 24 words that `shoal init` printed when the mesh was founded.',
  },
  members: { called: 'an address after --member', hint: '`shoal status` shows the addresses of each machine.' },
  crate: { called: 'the name of the crate' },
  session: { called: 'the build', hint: '`shoal report --list` shows what is remembered.' },
  id: { called: 'the build', hint: '`shoal report --list` shows what is remembered.' },
  ms: { called: 'the time', hint: 'Say `30m` or `8h`; a week at most.' },
  toBytes: { called: 'the size' },
}

/**
 * What somebody has asked for, as a schema wants it.
 * @throws ShoalError ERR_USAGE in words for the person at the command line
 */
export function readParams<T>(schema: z.ZodType<T>, params: unknown): T {
  const parsed = schema.safeParse(params ?? {}, { error: inWords })
  if (parsed.success) return parsed.data
  const [issue] = parsed.error.issues
  const key = String(issue?.path[0] ?? '')
  const { called, hint } = fields[key] ?? { called: key || 'the request' }
  const options: ShoalErrorOptions = hint === undefined ? {} : { hint }
  throw new ShoalError('ERR_USAGE', `${called} is ${issue?.message ?? 'not understood'}`, options)
}
