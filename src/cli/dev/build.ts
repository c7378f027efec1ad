import { rm } from 'node:fs/promises'
import { join } from 'node:path'
import { root, run } from './tools.ts'

// For publishing only: Node strips no types under node_modules.
await rm(join(root, 'dist'), { recursive: true, force: true })
process.exitCode = await run('tsc', ['-p', '.'])
