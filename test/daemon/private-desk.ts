import { mkdir, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import type { TestContext } from 'node:test'
import { silentLogger } from '../../src/base/log.ts'
import { PrivatePaths } from '../../src/daemon/private-paths.ts'
import { PrivateUnits } from '../../src/daemon/private-units.ts'
import type { PlannedAction } from '../../src/plan/plan.ts'
import { openIndexDb } from '../../src/store/index-db.ts'
import { afterwards, ManualClock, temporaryDirectory } from '../mesh/fixture.ts'
import { content, planned } from '../recall/support.ts'

/** A node that has just started, and a workspace with a private package that cargo says is fresh. */
export async function setUp(t: TestContext) {
  const dir = await temporaryDirectory(t)
  const deps = join(dir, 'target/debug/deps')
  const write = async (path: string, text: string): Promise<void> => {
    await mkdir(dirname(join(dir, path)), { recursive: true })
    await writeFile(join(dir, path), text)
  }
  const depInfo = (name: string, ...files: string[]): Promise<void> =>
    write(`target/debug/deps/${name}.d`, `${deps}/lib${name}.rmeta: ${files.join(' ')}\n`)
  await write('p/Cargo.toml', '[package]\nname = "p"\n[package.metadata.shoal]\nprivate = true\n')
  for (const name of ['o', 'd']) await write(`${name}/Cargo.toml`, `[package]\nname = "${name}"\n`)
  const { datastore, close } = await openIndexDb({ dir: join(dir, 'index'), log: silentLogger })
  afterwards(t, close)
  const paths = new PrivatePaths({ workspaces: [], packages: [] })
  const units = await PrivateUnits.open({ datastore, clock: new ManualClock(), paths, onChange: () => undefined })
  const library = (name: string, at = deps) => ({ name, path: join(at, name), cid: content(name), size: 1 })
  const judge = (
    dependencies: PlannedAction['dependencies'],
    change: Partial<PlannedAction> = {},
    remaps = [{ from: dir, to: '.' }],
  ): Promise<boolean> =>
    units.judge(
      { ...planned, dependencies, reaches: dependencies, dependencyDirs: [deps], ...change },
      { env: new Map([['CARGO_MANIFEST_DIR', join(dir, 'd')]]), cwd: dir, remaps },
      () => undefined,
    )
  return { dir, units, write, depInfo, library, judge }
}
