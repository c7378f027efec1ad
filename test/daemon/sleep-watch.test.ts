import assert from 'node:assert/strict'
import { after, before, describe, test } from 'node:test'
import { systemClock } from '../../src/base/clock.ts'
import { silentLogger } from '../../src/base/log.ts'
import { BusReader, encodeMessage, encodeString, kinds } from '../../src/daemon/bus-messages.ts'
import { watchSleep } from '../../src/daemon/sleep-watch.ts'
import { OnTheBus, TestBus } from '../support/bus.ts'

describe('a machine that goes to sleep', { skip: TestBus.missing }, () => {
  let bus: TestBus
  let watching: (() => void) | undefined
  const heard: string[] = []
  let tried = 0
  let next = Promise.withResolvers<void>()

  before(async () => {
    bus = await TestBus.start()
    const note = (what: string) => () => {
      heard.push(what)
      next.resolve()
    }
    watching = watchSleep({
      clock: systemClock,
      log: silentLogger,
      env: { DBUS_SYSTEM_BUS_ADDRESS: `unix:guid=00,path=${bus.path}` },
      market: { leave: note('leave'), comeBack: note('come back') },
      lender: {
        async tryAgain() {
          tried += 1
        },
      },
    })
  })
  after(async () => {
    watching?.()
    await bus.stop()
  })

  const nextHeard = async (): Promise<string[]> => {
    await next.promise
    next = Promise.withResolvers()
    return heard.splice(0)
  }

  test('is heard of from the login manager, and when it is awake', async () => {
    // It may not have asked for that yet.
    const calling = setInterval(() => bus.login.prepareForSleep(true), 20)
    assert.equal((await nextHeard())[0], 'leave')
    clearInterval(calling)
    bus.login.prepareForSleep(false)
    for (;;) if ((await nextHeard()).includes('come back')) break
    assert.equal(tried, 1, 'the sandbox is tried again')
  })

  test('is believed from nobody else', async () => {
    const other = await OnTheBus.join(bus.path, 'org.example.other')
    other.prepareForSleep(true)
    // Whoever asks the bus for something afterwards is answered afterwards.
    await OnTheBus.join(bus.path).then((program) => program.leave())
    bus.login.prepareForSleep(false)
    assert.deepEqual(await nextHeard(), ['come back'])
    other.leave()
  })
})

test('what comes over the bus in pieces is put together, and what is no message ends it', () => {
  const whole = encodeMessage(
    { kind: kinds.signal, member: 'Some', interface: 'a.b', signature: 's' },
    7,
    encodeString('x'),
  )
  const reader = new BusReader()
  const found = [...whole, ...whole].flatMap((byte) => reader.push(Uint8Array.of(byte)))
  assert.deepEqual(
    found.map(({ message }) => message),
    Array(2).fill({ kind: 4, interface: 'a.b', member: 'Some', signature: 's' }),
  )
  assert.deepEqual(found[0]?.body, encodeString('x'))
  assert.throws(() => new BusReader().push(Buffer.alloc(16, 'x')), { code: 'ERR_DECODE' })
  const long = Buffer.from(whole)
  long.writeUInt32LE(1 << 30, 4)
  assert.throws(() => new BusReader().push(long), { code: 'ERR_DECODE' })
})
