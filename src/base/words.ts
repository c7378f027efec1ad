import type { z } from 'zod'

const kinds: Readonly<Record<string, string>> = {
  string: 'no text',
  number: 'no number',
  int: 'no whole number',
  boolean: 'neither true nor false',
  array: 'no list',
}

/**
 * Why a value does not fit a schema, in words that people can be told: they come after "is". What the parser says by itself is for whoever wrote the
 * schema; what a schema says itself goes before this. For `safeParse`.
 */
export const inWords: z.core.$ZodErrorMap = (issue) => {
  switch (issue.code) {
    case 'invalid_type':
      return issue.input === undefined ? 'missing' : (kinds[issue.expected] ?? 'not understood')
    case 'invalid_value':
      return issue.input === undefined ? 'missing' : `none of ${issue.values.map(String).join(', ')}`
    case 'too_small':
      if (issue.origin === 'string' || issue.origin === 'array')
        return issue.minimum === 1 ? 'empty' : `shorter than ${issue.minimum}`
      return `less than ${issue.minimum}`
    case 'too_big':
      if (issue.origin === 'string') return `longer than ${issue.maximum} characters`
      return issue.origin === 'array' ? `longer than ${issue.maximum} entries` : `more than ${issue.maximum}`
    case 'unrecognized_keys':
      return `of a newer version, or misspelt: ${issue.keys.join(', ')}`
    default:
      return 'not understood'
  }
}

/** Where the first thing is that does not fit, and why: `mesh.port: more than 65535`. @param whole what the value itself is called */
export function firstWrong({ issues: [issue] }: z.ZodError, whole: string): string {
  return `${issue?.path.join('.') || whole}: ${issue?.message ?? 'not understood'}`
}
