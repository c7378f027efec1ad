import { join } from 'node:path'
import { computing } from '../support/chains.ts'
import { CompileWatch } from '../support/compile-watch.ts'
import { writeFiles } from '../support/fixture.ts'
import type { Machines } from './machines.ts'

/** Enough that what rustc does besides hardly counts. */
const probe = 1_000_000

/**
 * How many steps of a constant (`computing`) rustc makes on one of the machines in `ms`, without what it needs for an empty library.
 * Throws when that is less than an empty library takes.
 */
export async function stepsFor(machines: Machines, ms: number): Promise<number> {
  const dir = join(machines.dir, 'calibration')
  const timed = async (steps: number): Promise<number> => {
    await writeFiles(dir, {
      'Cargo.toml': '[package]\nname = "probe"\nversion = "0.1.0"\nedition = "2021"\n',
      'src/lib.rs': computing(steps, `${steps}`),
    })
    const watch = new CompileWatch(machines.all)
    try {
      await machines.cargo(machines.all.length - 1, dir, ['build', '--offline'], 'plain')
    } finally {
      watch.stop()
    }
    const [compile] = watch.of('probe')
    if (compile?.until === undefined) throw new Error('the probe was not seen')
    return compile.until - compile.from
  }
  const empty = await timed(0)
  if (empty >= ms) throw new RangeError(`an empty library takes ${Math.round(empty)} ms there`)
  return Math.round(((ms - empty) * probe) / ((await timed(probe)) - empty))
}
