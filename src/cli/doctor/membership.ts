import type { NetworkInterfaceInfo } from 'node:os'
import { foreignText } from '../../base/errors.ts'
import { counted } from '../render.ts'
import type { Examined, Peers, Status } from '../shapes.ts'
import { type Finding, fail, ok, warn } from './finding.ts'

const dayMs = 86_400_000
/** Certificates are renewed at half of their time; by then something has kept it from that. */
const lateDays = 7

/** Whether this machine belongs to a mesh, for how long, and who could help it. */
export function membership(mesh: Examined['mesh'], now: number): Finding[] {
  if ('code' in mesh) return [fail('mesh', `${mesh.code}: ${mesh.message}`, mesh.hint, ...joinOrFound(mesh.code))]
  const name = foreignText(mesh.name)
  if (mesh.objectionCode === 'ERR_NOT_YET_VALID') {
    // A new link would be of no use.
    const why = 'the clock of this machine is slow, or was fast when it joined'
    return [fail('mesh', `the certificate for ${name} is ${foreignText(mesh.objection ?? '')}`, why, 'date')]
  }
  if (mesh.objection !== null) {
    const why = 'the other members do not talk to this machine'
    return [
      fail(
        'mesh',
        `this machine is no member of ${name} any more: ${foreignText(mesh.objection)}`,
        why,
        'shoal down',
        'shoal join LINK --up',
      ),
    ]
  }
  const findings = [
    mesh.open
      ? warn('mesh', `${name}, which is open`, 'whoever finds it on the local network is let in')
      : ok('mesh', `${name}, ${counted(mesh.members, 'member')}`),
  ]
  if (mesh.validUntil !== null) {
    const days = Math.floor((Date.parse(mesh.validUntil) - now) / dayMs)
    const what = `runs out ${mesh.validUntil.slice(0, 10)}, in ${counted(Math.max(0, days), 'day')}`
    const why = 'nobody who may renew it was met for weeks; after that day this machine needs a new link'
    findings.push(
      days < lateDays
        ? warn('certificate', what, why, 'shoal up   # where an administrator is connected')
        : ok('certificate', what),
    )
  }
  if (mesh.admins > 1) findings.push(ok('administrators', `${mesh.admins}`))
  else if (mesh.roles.includes('admin')) {
    const why = 'if it is lost, only the recovery phrase can let anybody in or shut anybody out'
    const mend =
      mesh.members > 1 ? 'shoal promote NAME' : 'shoal invite   # then, once it is a member: shoal promote NAME'
    findings.push(warn('administrators', 'this machine is the only one', why, mend))
  } else
    findings.push(
      warn(
        'administrators',
        'there is only one',
        'without it nobody can be shut out',
        'shoal promote NAME   # on that machine',
      ),
    )
  return findings
}

function joinOrFound(code: string): string[] {
  return code === 'ERR_NO_MESH' || code === 'ERR_MESH_OUTDATED' ? ['shoal join   # or: shoal init'] : []
}

/** Whom the running node sees. */
export function peers({ peers: all }: Peers, self: Status): Finding[] {
  const connected = all.filter((peer) => peer.connected).length
  if (all.length === 0) return [ok('peers', 'no other members yet; `shoal invite` prints a link')]
  if (connected === 0) {
    const why = 'everything is compiled here'
    return [warn('peers', `none of ${counted(all.length, 'member')} is connected`, why, 'shoal peers')]
  }
  const cloned = all.filter((peer) => peer.cloned === true).map(({ name }) => foreignText(name))
  const findings = [
    ok('peers', `${connected} of ${counted(all.length, 'member')} connected to ${foreignText(self.node.name)}`),
  ]
  if (cloned.length > 0) {
    const why = 'two machines are in use as one member; neither of them lends'
    findings.push(warn('copied keys', cloned.join(', '), why, 'shoal status   # says what to do'))
  }
  return findings
}

/** Whether members on the same network can find this machine. */
export function discovery(
  interfaces: NodeJS.Dict<NetworkInterfaceInfo[]>,
  { mdns, listen, bootstrap }: { mdns: boolean; listen: readonly string[]; bootstrap: readonly string[] },
): Finding {
  const isOutside = ({ family, internal, address }: NetworkInterfaceInfo): boolean =>
    !internal && (family === 'IPv4' || !/^fe[89ab]/i.test(address))
  const outside = Object.entries(interfaces).map(([name, all = []]) => ({ name, addresses: all.filter(isOutside) }))
  const networks = outside.filter(({ addresses }) => addresses.length > 0)
  const check = 'discovery'
  if (!mdns) {
    if (bootstrap.length > 0)
      return ok(check, `mDNS is off; ${counted(bootstrap.length, 'address')} in the configuration`)
    return warn(check, 'mDNS is off (mesh.mdns)', 'members are found where they were before, or by others, only')
  }
  if (networks.length === 0) return warn(check, 'no network with an address', 'nobody can be found by mDNS')
  if (listen.every((address) => address.startsWith('127.') || address === '::1')) {
    return warn(check, `the node listens on ${listen.join(', ')} alone (mesh.listen)`, 'no other machine can reach it')
  }
  const hasOnlySix = networks.every(({ addresses }) => addresses.every(({ family }) => family === 'IPv6'))
  if (hasOnlySix && !listen.some((address) => address.includes(':') || address.startsWith('/'))) {
    const why = 'no other machine can reach it'
    return warn(check, 'this machine has IPv6 alone, and the node listens on IPv4', why, 'mesh.listen = ["::"]')
  }
  return ok(check, `mDNS on ${networks.map(({ name }) => name).join(', ')}`)
}

/** What the node itself complains of. */
export function complaints({ health }: Status): Finding[] {
  return health.map(({ code, text, hint, count }) =>
    warn('health', `${code}: ${foreignText(text)}${count > 1 ? ` (${count} times)` : ''}`, foreignText(hint)),
  )
}
