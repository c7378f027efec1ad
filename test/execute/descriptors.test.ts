import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { closeSync, openSync } from 'node:fs'
import { test } from 'node:test'

test('inheritedDescriptors() finds what a parent left open, and only that', {
  skip: process.platform !== 'linux',
}, async () => {
  const module = JSON.stringify(new URL('../../src/execute/descriptors.ts', import.meta.url).href)
  const program = `import(${module}).then((m) => console.log(JSON.stringify(m.inheritedDescriptors())))`
  const fd = openSync('/dev/zero', 'r')
  try {
    const slots = Array.from({ length: 61 }, (_, at) => (at === 60 - 3 ? fd : 'ignore'))
    const child = spawn(process.execPath, ['-e', program], { stdio: ['ignore', 'pipe', 'inherit', ...slots] })
    let told = ''
    child.stdout?.on('data', (chunk) => {
      told += chunk
    })
    await once(child, 'close')
    const found: number[] = JSON.parse(told)
    assert.ok(found.includes(60), told)
    assert.ok(!found.some((number) => number > 20 && number < 60), told)
  } finally {
    closeSync(fd)
  }
})
