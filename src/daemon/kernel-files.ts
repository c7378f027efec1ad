import { readdirSync, readFileSync } from 'node:fs'

/** What lies in a directory of the kernel's; nothing when it cannot be read. */
export function names(dir: string): string[] {
  try {
    return readdirSync(dir)
  } catch {
    return []
  }
}

/** What a file of the kernel's says, without blanks around it; undefined when it cannot be read. */
export function line(file: string): string | undefined {
  try {
    return readFileSync(file, 'utf8').trim()
  } catch {
    return undefined
  }
}
