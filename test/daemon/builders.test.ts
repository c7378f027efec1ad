import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Builders } from '../../src/daemon/builders.ts'
import { ManualClock, someBytes } from '../mesh/fixture.ts'

test('a member builds until all of its builds have ended, it is gone, or it has said nothing for a while', () => {
  const clock = new ManualClock()
  const builders = new Builders(clock)
  const [one, other] = [someBytes(16), someBytes(16)]
  assert.equal(builders.areAny, false)
  for (const build of [one, other]) builders.hear('ada', { build, active: true })
  builders.hear('ada', { build: one, active: false })
  assert.equal(builders.areAny, true)
  builders.hear('ada', { build: other, active: false })
  assert.equal(builders.areAny, false)

  builders.hear('ben', { build: one, active: true })
  builders.forget('ben')
  assert.equal(builders.areAny, false)

  builders.hear('ben', { build: one, active: true })
  clock.advance(14_000)
  builders.hear('ben', { build: one, active: true })
  clock.advance(14_000)
  assert.equal(builders.areAny, true)
  clock.advance(2000)
  assert.equal(builders.areAny, false)
})

test('of one member sixteen builds are remembered', () => {
  const clock = new ManualClock()
  const builders = new Builders(clock)
  for (let at = 0; at < 16; at++) builders.hear('eve', { build: someBytes(16), active: true })
  clock.advance(14_000)
  builders.hear('eve', { build: someBytes(16), active: true })
  clock.advance(2000)
  assert.equal(builders.areAny, false)
})
