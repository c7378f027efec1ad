import assert from 'node:assert/strict'
import { createSocket } from 'node:dgram'
import { once } from 'node:events'
import { networkInterfaces } from 'node:os'
import { test } from 'node:test'
import { silentLogger } from '../../src/base/log.ts'
import { Multicast } from '../../src/mesh/multicast.ts'
import { afterwards } from './fixture.ts'

test('by IPv6 nothing is heard that comes from elsewhere than this link', { timeout: 20_000 }, async (t) => {
  const [name = 'lo', all] = Object.entries(networkInterfaces()).find(([, each]) => each?.some(isLoopback)) ?? []
  if (all === undefined) return t.skip('no IPv6 here')
  const here = [{ address: 'fd00:5::1', cidr: 'fd00:5::1/64' }]
  const heard = Promise.withResolvers<string>()
  const onMessage = (bytes: Uint8Array): void => heard.resolve(Buffer.from(bytes).toString())
  const multicast = new Multicast({ interfaces: () => ({ [name]: here }), log: silentLogger, onMessage })
  multicast.follow()
  const sender = createSocket('udp6')
  afterwards(t, async () => {
    multicast.close()
    sender.close()
  })
  sender.bind(0, '::1')
  await once(sender, 'listening')
  const send = (text: string): Promise<void> =>
    new Promise((resolve, reject) => sender.send(text, 5353, '::1', (error) => (error ? reject(error) : resolve())))
  // Until the socket is bound, what is sent there is lost.
  for (let times = 0; times < 20; times += 1) {
    await send('from elsewhere')
    await new Promise((resolve) => setTimeout(resolve, 10))
  }
  here.push({ address: '::1', cidr: '::1/128' })
  await send('from this link')
  assert.equal(await heard.promise, 'from this link')
})

function isLoopback({ address }: { address: string }): boolean {
  return address === '::1'
}
