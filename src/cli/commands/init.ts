import type { Command } from 'commander'
import { foreignText, ShoalError } from '../../base/errors.ts'
import { answers } from '../client.ts'
import { confirmed, isPerson } from '../confirm.ts'
import { daemonOnce, startDaemon } from '../daemon-program.ts'
import { exitCodes } from '../failure.ts'
import { type Io, note, print, printJson } from '../io.ts'
import { join } from '../joining.ts'
import { printMembership } from '../membership-text.ts'
import { forgetRoot, recover } from '../recovering.ts'
import { type Membership, membershipShape, type Surroundings, shaped, surroundingsShape } from '../shapes.ts'

interface InitOptions {
  name?: string
  mesh?: string
  openLan?: true
  up?: true
  check?: true
  recover?: true
  member?: string[]
  forgetRoot?: true
  yes?: true
  json?: true
}

export function addInit(program: Command, io: Io, done: (exitCode: number) => void): void {
  program
    .command('init')
    .description('set this machine up: an identity, a mesh of its own, the shim; safe to repeat')
    .option('--name <name>', 'what other members see; default: the host name')
    .option('--mesh <name>', 'what the mesh is called')
    .option('--open-lan', 'found a mesh that admits whoever finds it on the local network')
    .option('--up', 'then start the node')
    .option(
      '--check',
      'change nothing: say what there is, and which meshes are heard; exit with 4 when there is none here',
    )
    .option('--recover', 'make this machine an administrator of the mesh whose recovery phrase standard input says')
    .option('--member <address...>', 'with --recover: where members are, when none is on the local network')
    .option(
      '--forget-root',
      'take the root key of the mesh off this disk: whose recovery phrase standard input says, and which has another administrator',
    )
    .option('--yes', 'ask nothing (for scripts)')
    .option('--json', 'the answer as JSON')
    .action(async (options: InitOptions) => {
      if (options.check) {
        const around = await lookAround(io)
        if (options.json) printJson(io, around)
        else for (const line of surroundingLines(around)) print(io, line)
        if (around.mesh === null) done(exitCodes.degraded)
        return
      }
      if (options.recover && options.forgetRoot)
        throw new ShoalError('ERR_USAGE', '--recover brings the root key here, --forget-root takes it away')
      if (options.recover) return await recover(io, options)
      if (options.forgetRoot) return await forgetRoot(io, options)
      if (options.member !== undefined) {
        throw new ShoalError('ERR_USAGE', '--member is for --recover', { hint: 'To join a mesh: `shoal join`.' })
      }
      const joined = await offerToJoin(io, options)
      if (joined !== undefined) {
        const headline = `This machine is now a member of ${foreignText(joined.mesh.name)}.`
        return printMembership(io, joined, headline, await isUpNow(io, options))
      }
      const answer = await daemonOnce(io, {
        action: 'init',
        ...(options.name === undefined ? {} : { name: options.name }),
        ...(options.mesh === undefined ? {} : { meshName: options.mesh }),
        openLan: options.openLan ?? false,
      })
      const membership = shaped(membershipShape, answer, 'init')
      const isUp = await isUpNow(io, options)
      if (options.json) return printJson(io, membership)
      const { mesh, phrase } = membership
      printMembership(io, membership, `This machine belongs to the mesh ${foreignText(mesh.name)}.`, isUp)
      const { called } = membership
      if (options.name !== undefined && typeof called === 'string' && called !== options.name.trim())
        print(io, `The others go on calling it ${foreignText(called)}. To change that: shoal rename NAME`)
      if (mesh.open)
        print(io, 'The mesh is open: whoever finds it on the local network is admitted, without being asked.')
      if (phrase === undefined) return
      printPhrase(io, phrase)
      print(io, 'This machine is the only administrator. Once there is another member: shoal promote NAME')
    })
}

/** Starts the node if that is wanted. @returns whether it runs */
async function isUpNow(io: Io, { up }: InitOptions): Promise<boolean> {
  if (await answers(io.paths.socket, { signal: io.signal })) return true
  if (up) await startDaemon(io)
  return up ?? false
}

async function lookAround(io: Io): Promise<Surroundings> {
  return shaped(surroundingsShape, await daemonOnce(io, { action: 'look' }), 'init')
}

/** Two colleagues who both begin would each sit in a mesh of their own. Only a person is asked, and only before there is one. */
async function offerToJoin(io: Io, options: InitOptions): Promise<Membership | undefined> {
  const founds = options.mesh !== undefined || options.openLan
  if (!isPerson(io) || options.yes || options.json || founds) return undefined
  const { mesh, near } = await lookAround(io)
  if (mesh !== null || near.length === 0) return undefined
  const names = near.map(({ name, open }) => foreignText(name) + (open ? ' (open)' : '')).join(', ')
  note(io, `On this network there is already: ${names}.`)
  const [only, ...others] = near
  if (only !== undefined && others.length === 0) {
    const isWanted = await confirmed(io, 'Join it, instead of founding another mesh?')
    return isWanted ? await join(io, { mesh: only.id, name: options.name }, {}) : undefined
  }
  if (await confirmed(io, 'Found another mesh, of this machine alone?')) return undefined
  throw new ShoalError('ERR_USAGE', 'nothing was set up', { hint: 'Join one: `shoal join --mesh NAME`.' })
}

function surroundingLines({ mesh, near }: Surroundings): string[] {
  const own = mesh === null ? 'none yet' : foreignText(mesh.name) + (mesh.open ? ', open to the local network' : '')
  const heard = near.map(({ id, name, open }) => {
    return `heard ${foreignText(name)}  ${id.slice(0, 8)}${open ? '  open to the local network' : ''}`
  })
  return [`mesh  ${own}`, ...(heard.length === 0 ? ['heard none on the local network'] : heard)]
}

function printPhrase(io: Io, phrase: string): void {
  const words = phrase.split(' ')
  print(io, 'Recovery phrase of this mesh. Write it down on paper; it is not shown again:')
  for (let at = 0; at < words.length; at += 6) print(io, `  ${words.slice(at, at + 6).join(' ')}`)
}
