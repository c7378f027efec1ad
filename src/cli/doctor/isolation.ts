import { type Finding, ok, warn } from './finding.ts'
import type { SystemFacts } from './system.ts'

/** What the node found when it tried to isolate a guest. */
export interface Tried {
  tier: string
  reason: string
  /** Why it lends less for now; absent or empty when it does not. */
  owner?: string
}

const lendsNothing = 'this machine borrows and lends nothing'
/** What the node says before it has tried. */
const untried = 'not started'
const leastVersion = [0, 8]

/** Whether guests can be isolated here. @param tried undefined when no node runs that could say so */
export function isolation(facts: SystemFacts, tried: Tried | undefined): Finding[] {
  if (facts.platform === 'darwin') return [seatbelt(tried)]
  if (facts.platform !== 'linux') {
    return [warn('sandbox', `there is no sandbox for ${facts.platform} yet`, lendsNothing)]
  }
  return [sandbox(facts, tried), bubblewrap(facts), namespaces(facts), controlGroups(facts, tried)]
}

/** What needs nothing but the node's own trial to be said; undefined where it did not hold. */
function asTried(tried: Tried | undefined): Finding | undefined {
  if (tried === undefined) return warn('sandbox', 'was not tried: the node does it when it starts', '', 'shoal up')
  const { tier, reason, owner = '' } = tried
  const less = owner && `; lends less for now: ${owner}`
  if (tier !== 'none')
    return ok('sandbox', `holds what it was tried with, tier ${tier}${reason && `: ${reason}`}${less}`)
  return reason === untried ? warn('sandbox', 'is being tried', '', 'shoal doctor') : undefined
}

/** Part of macOS: there is nothing to install. */
const seatbelt = (tried: Tried | undefined): Finding =>
  asTried(tried) ?? warn('sandbox', `cannot be used: ${tried?.reason}`, lendsNothing)

function sandbox(facts: SystemFacts, tried: Tried | undefined): Finding {
  const known = asTried(tried)
  if (known !== undefined) return known
  const isCause = bubblewrap(facts).level !== 'ok' || namespaces(facts).level !== 'ok'
  const again = facts.isRoot ? ['run the node as an ordinary user'] : ['shoal down && shoal up']
  const mend = isCause ? [] : again
  return warn('sandbox', `cannot be used: ${tried?.reason}`, lendsNothing, ...mend)
}

function bubblewrap(facts: SystemFacts): Finding {
  const { bubblewrap: found } = facts
  if (found === undefined) return warn('bubblewrap', 'is not installed', lendsNothing, ...install(facts))
  if (isOlder(found.version)) {
    const what = `${found.path} is ${found.version || 'of unknown version'}, older than ${leastVersion.join('.')}`
    return warn('bubblewrap', what, 'guests can be kept from making namespaces by the filter alone', ...install(facts))
  }
  return ok('bubblewrap', `${found.version} at ${found.path}`)
}

function isOlder(version: string): boolean {
  const [major = 0, minor = 0] = version.split('.').map(Number)
  const [leastMajor = 0, leastMinor = 0] = leastVersion
  return major < leastMajor || (major === leastMajor && minor < leastMinor)
}

function install({ distribution: { ids } }: SystemFacts): string[] {
  if (ids.includes('debian') || ids.includes('ubuntu')) return ['sudo apt install bubblewrap']
  if (ids.includes('fedora') || ids.includes('rhel')) return ['sudo dnf install bubblewrap']
  if (ids.includes('arch')) return ['sudo pacman -S bubblewrap']
  if (ids.includes('suse') || ids.includes('opensuse')) return ['sudo zypper install bubblewrap']
  return ['install bubblewrap 0.8 or newer']
}

const profile = 'bwrap-userns-restrict'

function namespaces(facts: SystemFacts): Finding {
  const { apparmorRestricts, usernsCloneOff, maxUserNamespaces, isRoot } = facts
  const check = 'user namespaces'
  if (isRoot) return ok(check, 'are not needed: guests of a node that is root get users of their own')
  if (maxUserNamespaces === 0) {
    const setting = "echo 'user.max_user_namespaces = 15000' | sudo tee /etc/sysctl.d/90-user-namespaces.conf"
    return warn(check, 'user.max_user_namespaces is 0', lendsNothing, setting, 'sudo sysctl --system')
  }
  if (usernsCloneOff) {
    const setting = "echo 'kernel.unprivileged_userns_clone = 1' | sudo tee /etc/sysctl.d/90-user-namespaces.conf"
    return warn(
      check,
      'are for root alone: kernel.unprivileged_userns_clone is 0',
      lendsNothing,
      setting,
      'sudo sysctl --system',
    )
  }
  if (!apparmorRestricts) return ok(check, 'can be made')
  // Switching the restriction off for all programs is no cure: one profile for one program is enough.
  return warn(
    check,
    'are for programs with an AppArmor profile',
    'without one for bwrap it lends nothing',
    ...profiles(facts),
  )
}

function profiles({ distribution: { ids, version } }: SystemFacts): string[] {
  const shipsIt = ids.includes('ubuntu') && Number.parseFloat(version) >= 25.04
  const load = `sudo apparmor_parser -r /etc/apparmor.d/${profile}`
  if (shipsIt) return ['sudo apt install apparmor bubblewrap', load, 'shoal down && shoal up']
  if (!ids.includes('debian') && !ids.includes('ubuntu')) return [load, 'shoal down && shoal up']
  return [
    'sudo apt install bubblewrap apparmor-profiles',
    `sudo cp /usr/share/apparmor/extra-profiles/${profile} /etc/apparmor.d/`,
    load,
    'shoal down && shoal up',
  ]
}

function controlGroups({ groups }: SystemFacts, tried: Tried | undefined): Finding {
  const check = 'control groups'
  const names = groups.controllers.filter((name) => ['memory', 'pids', 'cpu'].includes(name)).join(', ')
  if (tried?.tier === 'confined')
    return ok(check, `version ${groups.version ?? '?'}, the kernel keeps the limits of guests`)
  const cost = 'limits of guests are looked after five times a second, instead of kept by the kernel'
  if (groups.version === undefined) return warn(check, 'there are none with a limit on memory', cost)
  const later = 'the node says when it starts whether it may use them'
  if (tried === undefined && names !== '') return ok(check, `version ${groups.version} (${names}); ${later}`)
  if (groups.version === 1) {
    return warn(check, `version 1 (${names}), not for this node to divide`, cost)
  }
  const restart = ['shoal down', 'systemd-run --user --scope -p Delegate=yes shoal up']
  return warn(check, `version 2 (${names || 'no controllers'}), not delegated to the node`, cost, ...restart)
}
