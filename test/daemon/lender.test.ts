import assert from 'node:assert/strict'
import { join } from 'node:path'
import { test } from 'node:test'
import { systemClock } from '../../src/base/clock.ts'
import { readConfig } from '../../src/base/config.ts'
import { silentLogger } from '../../src/base/log.ts'
import { Lender } from '../../src/daemon/lender.ts'
import { KnownTrees } from '../../src/plan/known-trees.ts'
import { createBlockStore } from '../../src/store/blocks.ts'
import { Health } from '../../src/watch/health.ts'
import { Tier } from '../../src/wire/generated/market_pb.ts'
import { afterwards, temporaryDirectory } from '../mesh/fixture.ts'

test('the sandbox is tried again when it may be another one, and is what it was found to be then', async (t) => {
  const dir = await temporaryDirectory(t)
  const clock = systemClock
  const health = new Health(clock)
  const blocks = createBlockStore({ dir: join(dir, 'blocks'), log: silentLogger, maxBytes: 1 << 20, minFreeBytes: 0 })
  await blocks.start()
  afterwards(t, () => blocks.stop())
  const env = { PATH: process.env.PATH ?? '' }
  const lender = await Lender.open(
    { blocks, listings: new KnownTrees(), clock, log: silentLogger, env, health },
    {
      cacheDir: dir,
      rustupHome: join(dir, 'none'),
      observer: join(dir, 'none'),
      recorder: join(dir, 'none'),
      config: await readConfig(join(dir, 'none')),
    },
  )
  afterwards(t, () => lender.close())
  assert.equal(lender.isTried, false)
  await lender.start()
  assert.equal(lender.isTried, true)
  const { tier, reason } = lender.lending
  if (tier === Tier.NONE) return t.skip(`no sandbox here: ${reason}`)
  const problems = () => health.problems().map(({ code }) => code)
  assert.deepEqual(problems(), [])
  env.PATH = dir
  await lender.tryAgain()
  assert.deepEqual([lender.lending.tier, lender.terms().tier, problems()], [Tier.NONE, Tier.NONE, ['ERR_SANDBOX']])
  env.PATH = process.env.PATH ?? ''
  // Both, though they come at once.
  await Promise.all([lender.tryAgain(), lender.tryAgain()])
  assert.deepEqual([lender.lending.tier, lender.terms().tier, problems()], [tier, tier, []])
})
