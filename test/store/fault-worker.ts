import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { codeOf } from '../../src/base/errors.ts'
import { silentLogger } from '../../src/base/log.ts'
import { createBlockStore } from '../../src/store/blocks.ts'
import { writeDurably } from '../../src/store/durable.ts'
import { cidOf } from '../../src/wire/cid.ts'
import { crashInit } from './crash-load.ts'
import { type FaultReport, faultBlocks } from './fault-load.ts'

/**
 * Uses a store in every way that writes, once for each line on standard input (a directory), and answers with a line of
 * JSON: what the store said became of it. Somebody makes system calls fail meanwhile.
 */
async function scenario(dir: string): Promise<FaultReport> {
  const report: FaultReport = { kept: [], pinned: false, durable: false, codes: [] }
  const attempt = async (work: () => Promise<void>): Promise<void> => {
    try {
      await work()
    } catch (error) {
      report.codes.push(codeOf(error) ?? String(error))
    }
  }
  const store = createBlockStore({ dir: join(dir, 'store'), log: silentLogger, ...crashInit })
  await attempt(async () => {
    await store.start()
    await store.indexed()
  })
  for (const [at, bytes] of faultBlocks.entries()) {
    await attempt(async () => {
      if (at % 2 === 0) await store.put(bytes)
      else {
        const source = join(dir, `source-${at}`)
        writeFileSync(source, bytes)
        await store.putFile(source, { maxBytes: 8 << 20 })
      }
    })
  }
  await attempt(async () => {
    report.pinned = await store.pin(await store.put(Buffer.from('pinned')))
  })
  await attempt(async () => {
    await writeDurably(join(dir, 'key'), 'new')
    report.durable = true
  })
  for (const [at, bytes] of faultBlocks.entries()) if (await store.has(cidOf(bytes))) report.kept.push(at)
  await attempt(() => store.stop())
  return report
}

for await (const dir of createInterface({ input: process.stdin })) {
  const report = await scenario(dir)
  process.stdout.write(`${JSON.stringify(report)}\n`)
}
