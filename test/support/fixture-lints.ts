import { type Files, type Mutation, packageManifest, type Said, type State } from './fixture.ts'

const arguments_ = (count: number): string =>
  Array.from({ length: count }, (_, at) => `_: u${8 << (at % 4)}`).join(', ')
const source = (name: string): string => `pub fn many(${arguments_(8)}) {
    let ${name} = 1;
}
pub fn same(flag: bool) -> bool {
    if flag == true { true } else { false }
}
`

const files: Files = {
  'Cargo.toml': packageManifest('linted'),
  'src/lib.rs': source('one'),
  'src/main.rs': 'fn main() {\n    linted::many(1, 2, 3, 4, 5, 6, 7, 8);\n}\n',
  'clippy.toml': 'too-many-arguments-threshold = 9\n',
}

/** A package whose warnings are what is looked at. */
export function lintState(command: 'check' | 'clippy'): State {
  return { files, env: {}, args: [command, '--offline', '--all-targets'] }
}

/** Every lint that was shown, and the names of what was not used. */
export function readLints(stderr: string): Said {
  const shown = [...stderr.matchAll(/= note: `#\[warn\((\S+)\)\]`|unused variable: `(\w+)`/g)].map(
    (found) => found[1] ?? found[2],
  )
  return { shown: [...new Set(shown)].toSorted().join(' ') }
}

export function lintMutations(command: 'check' | 'clippy'): readonly Mutation[] {
  const both: Mutation[] = [
    {
      title: 'a source',
      files: { 'src/lib.rs': source('two') },
      touches: ['linted'],
      says: {
        shown:
          command === 'check'
            ? 'two unused_variables'
            : 'clippy::bool_comparison clippy::needless_bool two unused_variables',
      },
    },
  ]
  if (command === 'check') return both
  const usual = 'clippy::bool_comparison clippy::needless_bool'
  return [
    ...both,
    {
      title: 'the configuration of clippy',
      files: { 'clippy.toml': 'too-many-arguments-threshold = 3\n' },
      touches: ['linted lib'],
      says: { shown: `${usual} clippy::too_many_arguments one unused_variables` },
    },
    {
      title: 'the configuration of clippy disappears',
      files: { 'clippy.toml': null },
      touches: ['linted lib'],
      says: { shown: `${usual} clippy::too_many_arguments one unused_variables` },
    },
    {
      title: 'a configuration of clippy that is looked for first appears',
      files: { '.clippy.toml': 'too-many-arguments-threshold = 3\n' },
      touches: ['linted lib'],
      says: { shown: `${usual} clippy::too_many_arguments one unused_variables` },
    },
    {
      title: 'lints on the command line of clippy',
      args: ['clippy', '--offline', '--all-targets', '--', '-A', 'clippy::needless_bool'],
      touches: ['linted lib'],
      says: { shown: 'clippy::bool_comparison one unused_variables' },
    },
  ]
}
