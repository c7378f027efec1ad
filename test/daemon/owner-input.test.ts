import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { readdirSync } from 'node:fs'
import { mkdir, mkdtemp, readdir, rm, symlink, utimes, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { setTimeout as delay } from 'node:timers/promises'
import { type OwnerInput, ownerInput } from '../../src/daemon/owner-input.ts'

interface Laptop {
  input: OwnerInput
  /** What a file of the kernel's says from now on. */
  says(path: string, text: string): Promise<void>
  /** When somebody last typed into a terminal, and when something last was printed there. */
  terminal(name: string, typed: number, printed: number): Promise<void>
  dir: string
}

/** Files as they are on a laptop; what they say is up to the test. */
async function laptop(t: TestContext): Promise<Laptop> {
  const dir = await mkdtemp(join(tmpdir(), 'shoal-input-'))
  t.after(() => rm(dir, { recursive: true }))
  const says = async (path: string, text: string): Promise<void> => {
    await mkdir(dirname(join(dir, path)), { recursive: true })
    await writeFile(join(dir, path), `${text}\n`)
  }
  const terminal = async (name: string, typed: number, printed: number): Promise<void> => {
    await says(`dev/${name}`, '')
    await utimes(join(dir, 'dev', name), typed, printed)
  }
  const touchpad = 'devices/i2c-ELAN0676:00'
  const sensor = 'devices/i2c-SMO55:00'
  const files: Record<string, string> = {
    'irq/0/actions': 'timer',
    'irq/0/per_cpu_count': '9,0',
    'irq/1/actions': 'i8042',
    'irq/1/per_cpu_count': '120,7',
    'irq/12/actions': 'i8042,gpio',
    'irq/12/per_cpu_count': '0,4',
    'irq/51/actions': 'ELAN0676:00',
    'irq/51/per_cpu_count': '0,800',
    'irq/52/actions': 'SMO55:00',
    'irq/52/per_cpu_count': '5,5',
    [`${touchpad}/name`]: 'ELAN0676:00',
    [`${touchpad}/0018:04F3:3195.0001/input/input5/name`]: 'a touchpad',
    [`${sensor}/name`]: 'SMO55:00',
    [`${sensor}/0018:0483:5755.0002/uevent`]: 'a sensor',
    'i2c/i2c_hid_acpi/bind': '',
    'usb/usb1/urbnum': '50',
    'usb/1-0:1.0/bInterfaceClass': '09',
    'usb/1-2/urbnum': '1000',
    'usb/1-2:1.0/bInterfaceClass': '03',
    'usb/1-2:1.0/bInterfaceProtocol': '01',
    'usb/1-2:1.1/bInterfaceClass': '03',
    'usb/1-2:1.1/bInterfaceProtocol': '02',
    'usb/1-3/urbnum': '70',
    'usb/1-3:1.0/bInterfaceClass': '03',
    'usb/1-3:1.0/bInterfaceProtocol': '00',
    'usb/1-4/urbnum': '800',
    'usb/1-4:1.0/bInterfaceClass': '08',
    'usb/1-4:1.0/bInterfaceProtocol': '02',
  }
  for (const [path, text] of Object.entries(files)) await says(path, text)
  for (const device of [touchpad, sensor]) {
    await symlink(join(dir, device), join(dir, 'i2c/i2c_hid_acpi', device.slice('devices/'.length)))
  }
  for (const name of ['pts/0', 'pts/ptmx', 'tty2', 'ttyS0']) await terminal(name, 1000, 1000)
  const at = (name: string): string => join(dir, name)
  const input = ownerInput('linux', { irq: at('irq'), i2c: at('i2c'), usb: at('usb'), dev: at('dev') })
  return { input, says, terminal, dir }
}

test('keys, touchpads, mice and terminals that are used are input, once for each time', async (t) => {
  const { input, says, terminal } = await laptop(t)
  assert.equal(input.had(), false)
  assert.equal(input.had(), false)
  const uses: Record<string, () => Promise<void>> = {
    'a key': () => says('irq/1/per_cpu_count', '121,7'),
    'a pointing stick': () => says('irq/12/per_cpu_count', '0,5'),
    'a touchpad': () => says('irq/51/per_cpu_count', '0,850'),
    'a wireless mouse': () => says('usb/1-2/urbnum', '1001'),
    'a window': () => terminal('pts/0', 1016, 1000),
    'a console': () => terminal('tty2', 1008, 1000),
  }
  for (const [name, use] of Object.entries(uses)) {
    await use()
    assert.equal(input.had(), true, name)
    assert.equal(input.had(), false, name)
  }
})

test('what programs print, and what no person moves, is none', async (t) => {
  const { input, says, terminal } = await laptop(t)
  input.had()
  const others: Record<string, () => Promise<void>> = {
    'a clock': () => says('irq/0/per_cpu_count', '5000,0'),
    'a sensor': () => says('irq/52/per_cpu_count', '6,6'),
    'a headset': () => says('usb/1-3/urbnum', '71'),
    'a disk': () => says('usb/1-4/urbnum', '900'),
    'a hub': () => says('usb/usb1/urbnum', '60'),
    'a program that prints': () => terminal('pts/0', 1000, 2000),
    'a serial line': () => terminal('ttyS0', 2000, 2000),
    'a terminal that opens': () => terminal('pts/1', 3000, 3000),
    'a terminal that closes': () => Promise.resolve(),
  }
  for (const [name, happen] of Object.entries(others)) {
    await happen()
    assert.equal(input.had(), false, name)
  }
})

test('what never rests is no person, until it has rested', async (t) => {
  const { input, says } = await laptop(t)
  input.had()
  let reports = 1000
  const report = async (): Promise<boolean> => {
    reports += 40
    await says('usb/1-2/urbnum', String(reports))
    return input.had()
  }
  const seen: boolean[] = []
  for (let look = 0; look < 800; look += 1) seen.push(await report())
  assert.deepEqual([seen[0], seen.indexOf(false)], [true, 719])
  assert.ok(seen.slice(719).every((had) => !had))
  // Others count all the same.
  await says('irq/1/per_cpu_count', '121,7')
  assert.equal(await report(), true)
  assert.equal(input.had(), false)
  assert.equal(await report(), true)
})

test('what is plugged in counts a minute later', async (t) => {
  const { input, says } = await laptop(t)
  input.had()
  await says('usb/1-7/urbnum', '3')
  await says('usb/1-7:1.0/bInterfaceClass', '03')
  await says('usb/1-7:1.0/bInterfaceProtocol', '01')
  let presses = 3
  const looks: boolean[] = []
  for (let look = 0; look < 14; look += 1) {
    presses += 1
    await says('usb/1-7/urbnum', String(presses))
    looks.push(input.had())
  }
  assert.equal(looks.indexOf(true), 12)
})

test('a machine that shows nothing has no input', async (t) => {
  const { dir } = await laptop(t)
  const nowhere = join(dir, 'nowhere')
  for (const input of [
    ownerInput('linux', { irq: nowhere, i2c: nowhere, usb: nowhere, dev: nowhere }),
    ownerInput('win32'),
  ]) {
    assert.deepEqual([input.had(), input.had()], [false, false])
  }
})

test('a terminal of this machine that somebody types into, and none that a program prints to', async (t) => {
  if (process.platform !== 'linux') return t.skip('Linux alone shows them so')
  const before = new Set(readdirSync('/dev/pts'))
  // `cat` in a terminal of its own; what is written to `script` is what somebody types there.
  const script = spawn('script', ['-qfec', 'stty -echo; echo ready; cat > /dev/null', '/dev/null'], {
    stdio: ['pipe', 'pipe', 'ignore'],
    env: { ...process.env, SHELL: '/bin/sh' },
  })
  t.after(async () => {
    script.stdin.end()
    script.kill()
    if (script.exitCode === null && script.signalCode === null) await once(script, 'exit')
  })
  await once(script.stdout, 'data')
  const name = (await readdir('/dev/pts')).find((each) => !before.has(each))
  assert.ok(name, 'no terminal was opened')
  const path = join('/dev/pts', name)
  const nowhere = '/nonexistent'
  const input = ownerInput('linux', { irq: nowhere, i2c: nowhere, usb: nowhere })
  // The kernel notes the time to eight seconds: what is long ago shows at once that it has changed.
  await utimes(path, 1_000_000, 1_000_000)
  input.had()
  await writeFile(path, 'printed\n')
  assert.equal(input.had(), false, 'printed')
  script.stdin.write('typed\n')
  let had = false
  for (let tries = 0; tries < 200 && !had; tries += 1) {
    await delay(10)
    had = input.had()
  }
  assert.ok(had, 'typed')
})
