import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { Lender } from './support.ts'

const lender = new Lender()
await lender.start()
const { tier } = lender.executor
await lender.stop()
const skip =
  tier === 'none' || process.getuid?.() !== 0 || !existsSync('/sys/fs/cgroup')
    ? 'there is no sandbox here, or nothing that can be taken from it'
    : false

test('bombs are stopped where no control group keeps the limits, too', { skip }, () => {
  const bombs = join(dirname(fileURLToPath(import.meta.url)), 'hostile-bombs.test.ts')
  // For these processes alone.
  const without = 'umount -R -l /sys/fs/cgroup && exec "$@"'
  const { NODE_TEST_CONTEXT: _, ...env } = process.env
  const program = [process.execPath, '--test', '--test-reporter=tap', bombs]
  const ran = spawnSync('unshare', ['--mount', '/bin/sh', '-c', without, 'sh', ...program], {
    env: { ...env, SHOAL_TEST_TIER: 'watched' },
    encoding: 'utf8',
  })
  assert.equal(ran.status, 0, ran.stdout + ran.stderr)
})
