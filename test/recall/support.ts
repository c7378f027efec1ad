import type { CID } from 'multiformats/cid'
import { type Action, encodeAction, type Result } from '../../src/plan/action.ts'
import type { PlannedAction } from '../../src/plan/plan.ts'
import { type Root, sortRoots } from '../../src/plan/roots.ts'
import { parseRustcArgs } from '../../src/plan/rustc-args.ts'
import { StatDigests } from '../../src/plan/stat-digests.ts'
import { LocalView } from '../../src/plan/view.ts'
import type { Place } from '../../src/recall/evidence.ts'
import { cidOf } from '../../src/wire/cid.ts'

export const content = (text: string): CID => cidOf(Buffer.from(text))

export const action: Action = {
  v: 2,
  salt: 'mesh',
  toolchain: 'a'.repeat(64),
  driver: null,
  target: 'x86_64-unknown-linux-gnu',
  crate: 'x',
  argv: [],
  env: [
    ['CARGO_MANIFEST_DIR', '\0workspace\0/x'],
    ['CARGO_PKG_NAME', 'x'],
    ['CARGO_PKG_VERSION', '1.0.0'],
  ],
  cwd: '\0workspace\0',
  remaps: [],
  deps: [],
  build: null,
  outputs: [
    ['x-1.d', 'dep-info'],
    ['libx-1.rmeta', 'metadata'],
  ],
}

/** The roots of a build in `dir`. */
const rootsIn = (dir: string): Root[] =>
  sortRoots([
    { name: 'workspace', path: `${dir}/ws` },
    { name: 'target', path: `${dir}/ws/target` },
    { name: 'out', path: `${dir}/ws/target/debug/deps` },
    { name: 'build', path: `${dir}/ws/target/debug/build/x-1/out` },
  ])

const encoded = encodeAction(action)

export const planned: PlannedAction = {
  crate: 'x',
  kind: 'lib',
  args: parseRustcArgs([]),
  reaches: [],
  shareable: true,
  action,
  key: encoded.cid,
  actionBytes: encoded.bytes,
  source: { root: 'workspace', path: 'x', dir: '/ws/x' },
  upstream: [],
  usesMacros: false,
  build: undefined,
  roots: rootsIn(''),
  dependencies: [],
  dependencyDirs: ['/ws/target/debug/deps'],
  unnamedDirs: [],
  incremental: undefined,
  notAway: undefined,
  toolchain: { digest: action.toolchain, host: action.target, sysroot: '/toolchain', covered: new Set() },
}

export const metadata = Buffer.from('metadata')

export const result: Result = {
  v: 2,
  action: encoded.cid,
  outputs: [{ name: 'libx-1.rmeta', kind: 'metadata', cid: cidOf(metadata), size: metadata.length, executable: false }],
  stderr: new Uint8Array(),
  depInfo: 'libx-1.rmeta: schema.json\n',
  wallMs: 1,
}

/** This machine, with the roots in `dir`. */
export function placeIn(dir: string, change: Partial<Place> = {}): Place {
  const env = change.env ?? new Map<string, string>()
  return {
    action,
    roots: rootsIn(dir),
    dependencyDirs: [`${dir}/ws/target/debug/deps`],
    env,
    view: new LocalView(new StatDigests(), env.get('PATH') ?? ''),
    tree: async () => undefined,
    ...change,
  }
}
