import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { chmod, copyFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { onlyWhereItRuns, run, shown, Watch } from './observer/support.ts'

let watch: Watch

describe('what works beside others is seen, or known to be missed', onlyWhereItRuns, () => {
  before(async () => {
    watch = await Watch.make()
  })
  after(() => watch.remove())

  /** A program in C, compiled. */
  async function compiled(source: string, ...args: string[]): Promise<string> {
    const at = await watch.empty()
    await writeFile(join(at, 'main.c'), source)
    execFileSync('cc', ['-w', '-o', 'main', 'main.c', ...args], { cwd: at })
    return join(at, 'main')
  }

  test('vfork of a program', async () => {
    const file = join(await watch.empty(), 'file')
    await writeFile(file, '')
    const main = await compiled(`#include <unistd.h>
#include <sys/wait.h>
int main(int count, char **words) {
  for (int turn = 0; turn < 3; turn++) {
    if (vfork() == 0) { execv(words[1], words + 1); _exit(127); }
    wait(0);
  }
}`)
    const ran = await watch.observe(main, [watch.probe, 'open', file, '0'])
    assert.deepEqual([ran.complete, ran.stdout], [true, run(main, [watch.probe, 'open', file, '0']).stdout])
    assert.equal(ran.stdout.split('\n').length, 4)
    const lines = ran.events.map(shown)
    for (const line of [`exec 0 ${watch.probe}`, `attach 0 ${watch.probe}`, `open 0 ${file}`])
      assert.ok(lines.includes(line), line)
  })

  test('threads that look at once at what is there and what is not', async () => {
    const at = await watch.empty()
    for (let index = 0; index < 16; index += 2) await writeFile(join(at, `${index}`), '')
    const main = await compiled(
      `#include <pthread.h>
#include <stdio.h>
#include <fcntl.h>
#include <unistd.h>
static char *dir;
static void *look(void *index) {
  char path[4096];
  snprintf(path, sizeof path, "%s/%d", dir, (int)(long)index);
  close(open(path, O_RDONLY));
  return 0;
}
int main(int count, char **words) {
  pthread_t all[16];
  dir = words[1];
  for (long index = 0; index < 16; index++) pthread_create(all + index, 0, look, (void *)index);
  for (int index = 0; index < 16; index++) pthread_join(all[index], 0);
}`,
      '-pthread',
    )
    const ran = await watch.observe(main, [at])
    assert.equal(ran.complete, true)
    const seen = ran.events.filter(({ path }) => path.startsWith(`${at}/`)).map(shown)
    const expected = Array.from({ length: 16 }, (_, index) => `open ${index % 2 === 0 ? 0 : 2} ${at}/${index}`)
    assert.deepEqual(seen.toSorted(), expected.toSorted())
  })

  test('a file that a program has from the one that started it is known by that one', async () => {
    const file = join(await watch.empty(), 'file')
    await writeFile(file, 'text')
    const ran = await watch.observe('/bin/sh', ['-c', 'exec 5<"$0"; cat <&5', file])
    assert.deepEqual([ran.complete, ran.stdout], [true, 'text'])
    assert.ok(ran.events.map(shown).includes(`open 0 ${file}`))
  })

  test('a program that runs as another user or group is missed, and runs as without', async () => {
    for (const mode of [0o4755, 0o2755]) {
      const at = await watch.empty()
      const program = join(at, 'program')
      await copyFile('/bin/true', program)
      assert.equal((await watch.observe(watch.probe, ['posix_spawn', program])).complete, true)
      await chmod(program, mode)
      const ran = await watch.observe(watch.probe, ['posix_spawn', program])
      assert.deepEqual([ran.attached, ran.complete, ran.stdout], [true, false, '0 0\n'], mode.toString(8))
    }
  })
})
