import { join } from 'node:path'
import { root, run } from './tools.ts'

/** Where the code of `protocols/*.proto` is committed. */
export const generatedDir = join(root, 'src/wire/generated')

/** Generates the code of `protocols/*.proto` into `out`. @returns the exit code of buf */
export function generate(out: string): Promise<number> {
  const options = ['target=ts', 'import_extension=ts', 'erasable_syntax=true']
  const template = { version: 'v2', plugins: [{ local: 'protoc-gen-es', out, opt: options }] }
  return run('buf', ['generate', 'protocols', '--template', JSON.stringify(template)])
}
