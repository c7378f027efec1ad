import { homedir } from 'node:os'
import { readConfig } from '../../src/base/config.ts'
import { createLogger } from '../../src/base/log.ts'
import { shoalPaths } from '../../src/base/paths.ts'
import { startNode } from '../../src/daemon/node.ts'

const paths = shoalPaths(process.env, homedir())
const node = await startNode({
  paths,
  config: await readConfig(paths.config),
  log: createLogger('debug'),
  env: process.env,
  machine: {
    cores: 2,
    busyCores: () => 0,
    freeMemoryBytes: () => 2 ** 40,
    onBattery: () => false,
    hadInput: () => false,
  },
})
const stop = (): void => void node.stop().then(() => process.exit(0))
process.once('SIGTERM', stop)
void node.stopRequested.then(stop)
