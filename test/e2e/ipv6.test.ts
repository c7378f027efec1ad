import assert from 'node:assert/strict'
import { cp, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { writeFiles } from '../support/busy.ts'
import { Office, type OfficeHost } from '../support/hosts.ts'
import { keepPrograms, keptPrograms } from '../support/programs.ts'

const manifest = (name: string, rest = ''): string =>
  `[package]\nname = "${name}"\nversion = "0.1.0"\nedition = "2021"\n${rest}`

const files = {
  'Cargo.toml': '[workspace]\nresolver = "2"\nmembers = ["one", "two"]\n',
  'one/Cargo.toml': manifest('one'),
  'one/src/lib.rs': 'pub const ONE: u32 = 1;\n',
  'two/Cargo.toml': manifest('two', '[dependencies]\none = { path = "../one" }\n'),
  'two/src/lib.rs': 'pub const TWO: u32 = one::ONE + 1;\n',
}

describe('machines that have nothing but IPv6', { timeout: 600_000 }, () => {
  let office: Office | string
  let hosts: readonly OfficeHost[] = []

  before(async () => {
    office = await Office.open(['ada', 'bert'], 'shoalsix', '[mesh]\nlisten = ["::"]\n', 'IPv6')
    if (typeof office === 'string') return
    hosts = office.hosts
    for (const { shoalHome } of hosts) await keptPrograms(shoalHome)
  })
  after(async () => {
    if (hosts[0] !== undefined) await keepPrograms(hosts[0].shoalHome)
    if (typeof office !== 'string') await office?.close()
  })

  test('hear each other, join by six digits, and what one has built the other has', async (t) => {
    if (typeof office === 'string') return t.skip(office)
    const [ada, bert] = hosts
    assert.ok(ada !== undefined && bert !== undefined)
    await ada.shoal('init', '--mesh', 'office', '--yes', '--up')
    const joining = bert.start('join', '--up')
    const [, code = ''] = await joining.said(/shoal approve (\d{6})/)
    assert.match(await ada.shoal('approve', code), /^bert \(fd00:213:7::2\) is a member now/)
    const joined = await joining.ended
    assert.equal(joined.code, 0, joined.stderr)
    await ada.peers(1)

    const [here, there] = [join(office.dir, 'here'), join(office.dir, 'there')]
    await writeFiles(here, files)
    await cp(here, there, { recursive: true })
    await ada.build(here, '--offline')
    await bert.build(there, '--offline')
    const { units } = await bert.json<{ units: { crate: string; outcome: string }[] }>('report', 'last')
    assert.deepEqual(units.map(({ crate, outcome }) => `${crate} ${outcome}`).toSorted(), [
      'one recalled-mesh',
      'two recalled-mesh',
    ])
  })

  test('find each other again after both were started anew, though neither remembers where the other is', async (t) => {
    if (typeof office === 'string') return t.skip(office)
    const [ada, bert] = hosts
    assert.ok(ada !== undefined && bert !== undefined)
    for (const host of hosts) await host.shoal('down')
    for (const { shoalHome } of hosts) await rm(join(shoalHome, 'state/members.json'), { force: true })
    for (const host of hosts) await host.shoal('up')
    await bert.peers(1)
  })

  test('a link leads there as well', async (t) => {
    if (typeof office === 'string') return t.skip(office)
    const [ada, bert] = hosts
    assert.ok(ada !== undefined && bert !== undefined)
    await bert.shoal('leave')
    await bert.shoal('join', (await ada.shoal('invite')).trim(), '--up')
    await bert.peers(1)
  })
})
