import type { Command } from 'commander'
import { askNode } from '../client.ts'
import { exitCodes } from '../failure.ts'
import { type Io, print, printJson } from '../io.ts'
import { bytes, counted } from '../render.ts'
import { type Status, shaped, statusShape } from '../shapes.ts'
import { trafficText } from '../traffic-text.ts'

interface StatusOptions {
  json?: true
  check?: true
}

export function addStatus(program: Command, io: Io, done: (exitCode: number) => void): void {
  program
    .command('status')
    .description('this node now: mesh, slots, peers, cache, problems')
    .option('--json', 'as JSON')
    .option('--check', 'exit with 4 when something is wrong')
    .action(async (options: StatusOptions) => {
      const status = shaped(statusShape, await askNode(io, 'status'), 'status')
      if (options.json) printJson(io, status)
      else for (const line of statusLines(status)) print(io, line)
      if (options.check && status.health.length > 0) done(exitCodes.degraded)
    })
}

/** Until there is a second one: if this machine is lost, so is all say over the mesh but for the recovery phrase. */
function onlyAdministrator({ members = 2 }: Status['mesh']): string {
  if (members > 1) return 'this machine is its only administrator; make another: shoal promote NAME'
  return 'nobody else belongs to it yet; a link for another machine: shoal invite'
}

function statusLines({ node, mesh, slots, lending, peers, cache, sharing, traffic, health }: Status): string[] {
  return [
    `node    ${node.name}  ${node.peerId}  (process ${node.pid}, version ${node.version})`,
    ...node.addresses.map((address) => `        ${address}`),
    `mesh    ${mesh.name}  ${mesh.id}`,
    ...(mesh.open ? ['        open: whoever finds it on the local network is let in'] : []),
    ...(mesh.isAdmin && mesh.admins === 1 ? [`        ${onlyAdministrator(mesh)}`] : []),
    `slots   ${slots.free} of ${slots.total} free, ${slots.lent} lent`,
    ...(lending === undefined ? [] : [`lending ${lendingText(lending)}`]),
    `peers   ${counted(peers, 'peer')} connected`,
    `cache   ${bytes(cache.bytes)} in ${counted(cache.blocks, 'block')}, ${counted(cache.results, 'result')}`,
    ...(sharing === undefined ? [] : sharingLines(sharing)),
    ...(traffic === undefined ? [] : [`blocks  ${trafficText(traffic)}, since it was started`]),
    ...(health.length === 0 ? ['health  good'] : []),
    ...health.flatMap(({ code, text, hint, count }) => [
      `health  ${code}: ${text}${count > 1 ? ` (${count} times)` : ''}`,
      `        ${hint}`,
    ]),
  ]
}

function lendingText({ tier, reason, owner }: NonNullable<Status['lending']>): string {
  if (tier === 'none') return `nothing: ${reason}`
  return [tier, owner === '' ? '' : `less for now: ${owner}`, reason].filter((text) => text !== '').join('; ')
}

function sharingLines({ placed, placing }: NonNullable<Status['sharing']>): string[] {
  const kept = `${counted(placed.results, 'result')} (${bytes(placed.bytes)}) kept for others`
  const given = `${counted(placing.placed, 'own result')} placed on them`
  return [`shared  ${kept}, ${given}${placing.waiting > 0 ? `, ${placing.waiting} to come` : ''}`]
}
