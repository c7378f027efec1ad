import { cp } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { cratesIoReachable } from '../support/cluster.ts'
import { Office, type OfficeHost } from '../support/hosts.ts'
import { say } from './figures.ts'

/**
 * From nothing to a build across three machines, by each of the three ways in, timed: `npm run bench -- join [--example NAME]`.
 * Machines are network namespaces with homes of their own; the commands are those that people type.
 */
const examples = fileURLToPath(new URL('../../examples/', import.meta.url))
const at = process.argv.indexOf('--example')

type Step = (office: { ada: OfficeHost; newcomers: OfficeHost[] }) => Promise<void>

/** What is typed on the machines of the newcomers is one command each. */
const ways: Readonly<Record<string, { init: string[]; enter: Step }>> = {
  'a link': {
    init: [],
    async enter({ ada, newcomers }) {
      for (const host of newcomers) await host.shoal('join', (await ada.shoal('invite')).trim(), '--up')
    },
  },
  'six digits': {
    init: [],
    async enter({ ada, newcomers }) {
      for (const host of newcomers) {
        const joining = host.start('join', '--up')
        const [, code = ''] = await joining.said(/shoal approve (\d{6})/)
        await ada.shoal('approve', code)
        const { code: exit, stderr } = await joining.ended
        if (exit !== 0) throw new Error(stderr)
      }
    },
  },
  'an open mesh': {
    init: ['--open-lan'],
    async enter({ newcomers }) {
      for (const host of newcomers) await host.shoal('join', '--up')
    },
  },
}

interface Built {
  units: { outcome: string; where: string }[]
  wallMs: number
}

async function measure(way: string, example: string): Promise<void> {
  const office = await Office.open(['ada', 'bert', 'cleo'], 'shoaljn', 'slots = 1\n')
  if (typeof office === 'string') return void say(`not measured: ${office}`)
  try {
    const [ada, ...newcomers] = office.hosts
    const { init, enter } = ways[way] ?? { init: [], enter: async () => undefined }
    if (ada === undefined) return
    const checkout = join(office.dir, 'checkout')
    await cp(join(examples, example), checkout, { recursive: true, filter: (path) => !/\/target(\/|$)/.test(path) })
    const marks = [performance.now()]
    const mark = (): number => marks.push(performance.now())
    await ada.shoal('init', '--mesh', 'office', '--yes', '--up', ...init)
    mark()
    await enter({ ada, newcomers })
    mark()
    await ada.peers(2)
    mark()
    await ada.build(checkout, '--offline', '--locked')
    mark()
    const { units } = await ada.json<Built>('report', 'last')
    const away = new Set(units.filter(({ outcome }) => outcome === 'compiled-mesh').map(({ where }) => where))
    const count = units.filter(({ outcome }) => outcome === 'compiled-mesh').length
    const columns = marks.slice(1).map((now, step) => seconds(now - (marks[step] ?? 0)))
    const total = seconds((marks.at(-1) ?? 0) - (marks[0] ?? 0))
    say(
      [way.padEnd(14), ...columns, total, `${count} of ${units.length} on ${[...away].sort().join(' and ')}`].join(
        '  ',
      ),
    )
  } finally {
    await office.close()
  }
}

const seconds = (ms: number): string => `${(ms / 1000).toFixed(1)} s`.padStart(8)

const reachable = await cratesIoReachable(join(examples, 'workspace'))
const example = at < 0 ? (reachable ? 'workspace' : 'offline') : (process.argv[at + 1] ?? '')
say(`examples/${example}, three machines with one slot each`)
say(['way in        ', '    init', '  2 join', '  all up', '   build', '     all', 'compiled elsewhere'].join('  '))
for (const way of Object.keys(ways)) await measure(way, example)
