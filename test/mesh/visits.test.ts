import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Visits } from '../../src/mesh/visits.ts'

/** Fills the desk: sixteen places. @returns who had to go, in that order */
function desk(hosts: readonly string[]) {
  const visits = new Visits()
  const gone: string[] = []
  const enter = (name: string, host = name) => visits.enter(host, ({ code }) => gone.push(`${name} ${code}`))
  const all = hosts.map((host, at) => enter(`${host}#${at}`, host))
  return { enter, gone, all }
}

test('sixteen are served at once; one more, and the longest of the host that has most goes', () => {
  const { enter, gone } = desk(['a', ...Array<string>(15).fill('b')])
  enter('c')
  enter('d')
  assert.deepEqual(gone, ['b#1 ERR_LIMIT', 'b#2 ERR_LIMIT'])
})

test('who was served leaves its place to others', () => {
  const { enter, gone, all } = desk(Array<string>(16).fill('b'))
  all[3]?.leave()
  enter('c')
  assert.deepEqual(gone, [])
})

test('nobody takes the place of one for whom something is about to be used up', () => {
  const { enter, gone, all } = desk(Array<string>(16).fill('b'))
  for (const visit of all.slice(1)) visit.keep()
  enter('c')
  assert.deepEqual(gone, ['b#0 ERR_LIMIT'])
  enter('d')
  assert.deepEqual(gone, ['b#0 ERR_LIMIT', 'c ERR_LIMIT'])
})

test('when all of them are such, one more is refused', () => {
  const { enter, gone, all } = desk(Array<string>(16).fill('b'))
  for (const visit of all) visit.keep()
  assert.throws(() => enter('c'), { code: 'ERR_LIMIT' })
  assert.deepEqual(gone, [])
})

test('who has all addresses of a network is in the way of that network only', () => {
  const far = Array.from({ length: 12 }, (_, at) => `2001:db8:0:1::${at.toString(16)}`)
  const { enter, gone } = desk(['192.0.2.1', '192.0.2.1', '2001:db8:0:2::1', '2001:db8:0:2::1', ...far])
  enter('2001:db8:0:1::ffff')
  enter('192.0.2.1')
  assert.deepEqual(gone, ['2001:db8:0:1::0#4 ERR_LIMIT', '2001:db8:0:1::1#5 ERR_LIMIT'])
})

test('on one network, who has one address is in its own way', () => {
  const { enter, gone } = desk(['2001:db8::1', ...Array<string>(15).fill('2001:db8::2')])
  enter('2001:db8::3')
  assert.deepEqual(gone, ['2001:db8::2#1 ERR_LIMIT'])
})
