import { networkInterfaces } from 'node:os'
import { systemClock } from '../../src/base/clock.ts'
import { silentLogger } from '../../src/base/log.ts'
import { Beacon, beaconService, hearBeacons } from '../../src/mesh/beacon.ts'

/**
 * `say ADDRESS` answers newcomers with that address until standard input ends, and says `ready`. `hear` prints how long it
 * listened, in ms, and what it heard, as JSON.
 */
const [, , role, address = ''] = process.argv
if (role === 'say') {
  const beacon = new Beacon({
    clock: systemClock,
    log: silentLogger,
    interfaces: networkInterfaces,
    services: { [beaconService]: () => true },
    addresses: () => [address],
  })
  beacon.start()
  process.stdout.write('ready\n')
  process.stdin.resume()
  process.stdin.once('end', () => void beacon.stop())
} else {
  const from = performance.now()
  const heard = await hearBeacons({ interfaces: networkInterfaces, log: silentLogger }, { ms: 2000, quietMs: 200 })
  const addresses = [...heard.values()].flat().map(String)
  process.stdout.write(`${JSON.stringify({ ms: performance.now() - from, addresses })}\n`)
}
