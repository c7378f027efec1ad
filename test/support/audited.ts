import { Cluster, type TestNode } from './cluster.ts'
import { idleDaemon } from './idle.ts'

export interface AuditCounts {
  waiting: number
  run: number
  agreed: number
  unsteady: number
  disagreed: number
  open: number
}

/** Two nodes that lend nothing; `ada` is at rest, and tries everything that it takes from `ben`. */
export interface Audited {
  cluster: Cluster
  ada: TestNode
  ben: TestNode
  audits(): Promise<AuditCounts>
}

/** @param first how many of a member's results are all tried. Default: as everywhere */
export async function startAudited(first?: number): Promise<Audited> {
  const firsts = first === undefined ? '' : `audit-first = ${first}\n`
  const config = (name: string): string =>
    `[lend]\nslots = 0\n[trust]\naudit-share = ${name === 'ada' ? 1 : 0}\n${firsts}`
  const cluster = await Cluster.start(['ada', 'ben'], config)
  try {
    const [ada, ben] = [cluster.node('ada'), cluster.node('ben')]
    await ada.stop()
    ada.program = idleDaemon
    await ada.start()
    await ada.waitForPeers(1)
    const audits = async (): Promise<AuditCounts> =>
      (await ada.ask<{ trust: { audits: AuditCounts } }>('status')).trust.audits
    return { cluster, ada, ben, audits }
  } catch (error) {
    await cluster.close()
    throw error
  }
}
