import { fileURLToPath } from 'node:url'

/** A daemon that takes its machine to be at rest and on mains power, whatever else runs on it. */
export const idleDaemon = fileURLToPath(new URL('fake-idle-program.ts', import.meta.url))
