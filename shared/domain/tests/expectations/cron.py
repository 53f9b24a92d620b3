"""Writes cron.tsv from Debian's own cron: which fields it accepts, and at which minutes it starts a job.

    apt-get source cron=3.0pl1-162 && python3 cron.py cron-3.0pl1 > cron.tsv

Nothing of cron's algorithm is written again here: entry.c (the parser) and cron.c (the matching, and the main loop with its rules for
changes of the clocks) are compiled as they are, with Debian's patches. Only the clock and what a started job does are ours: the driver
below includes cron.c, gives it a clock that leaps from sleep to sleep, and prints each job that cron queues. Needs a C compiler and tzdata.
"""

import datetime
import itertools
import os
import pathlib
import subprocess
import sys
import tempfile
import zoneinfo

DRIVER = r"""
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <langinfo.h>
#include <locale.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static time_t now, end;
static int queued;
static time_t our_time(time_t *at) { if (at) *at = now; return now; }
static unsigned our_sleep(unsigned seconds) { now += seconds; if (now > end) exit(0); return 0; }

#define time(at) our_time(at)
#define sleep(seconds) our_sleep(seconds)
#define access(file, mode) 0 /* "not system startup": no @reboot jobs */
#define fdopen(fd, mode) stdin
#define main cron_main
#include "cron.c"
#undef main

static user everybody;

void acquire_daemonlock(int closing) { (void)closing; }
void set_cron_uid(void) {}
void set_cron_cwd(void) {}
void check_orphans(cron_db *db) { (void)db; }
void load_database(cron_db *db) { db->head = db->tail = &everybody; }
void job_add(entry *e, user *u) { (void)u; printf("%d\t%ld\n", (int)e->uid, (long)now / 60); queued++; }
int job_runqueue(void) { int ran = queued; queued = 0; return ran; }
static void ignore(char *why) { (void)why; }

int main(int argc, char **argv) {
    int only_parse = argc < 4, number = 0;
    char line[512], text[600];
    struct passwd *pw = getpwuid(0);
    everybody.name = "root";
    while (fgets(line, sizeof line, stdin)) {
        line[strcspn(line, "\n")] = 0;
        snprintf(text, sizeof text, "%s true\n", line);
        FILE *file = fmemopen(text, strlen(text), "r");
        entry *e = load_entry(file, ignore, pw, env_init());
        fclose(file);
        if (only_parse) printf("%d\n", e != NULL);
        else if (e) { e->uid = number; e->next = everybody.crontab; everybody.crontab = e; }
        number++;
    }
    if (only_parse) return 0;
    now = atol(argv[2]) * 60;
    end = atol(argv[3]) * 60 + 59;
    char *arguments[] = {"cron", "-f", NULL};
    optind = 1;
    return cron_main(2, arguments);
}
"""

# What people write, rightly and wrongly. {} stands for one field, the others are `*`.
WRITTEN = [
    "*", "0", "5", "05", "007", "59", "60", "23", "24", "31", "32", "12", "13", "7", "8", "-1", "1-", "-", "1,", ",1", "1,,2",
    "1,2,3", "1-5", "5-1", "0-7", "6-7", "5-5", "1-5,7", "1-5/2", "*/2", "*/0", "*/1", "*/7", "*/59", "*/60", "*/100", "*/-1", "*/", "/2", "5/2",
    "0/5", "1-3/0", "1-3/9", "*-5", "*,5", "5,*", "**", "?", "L", "1#2", "mon", "MON", "Mon", "monday", "mon-fri", "sat-sun", "sun",
    "sun-sat", "fri-mon", "mon,wed", "jan", "JAN", "january", "jan-mar", "dec-jan", "jan,7", "todos", "x", "1x", "1.5", "+1", "0x1",
    "1-2-3", "99999", "1/1", "~", "0~5",
]

# Schedules whose starts are listed.
SCHEDULES = [
    "30 8 * * *", "0 8 * * 1-5", "15,45 9-17 * * mon-fri", "*/15 * * * *", "0 */6 * * *", "*/7 3 * * *", "0 0 1 * *", "30 8 31 * *",
    "0 12 29 2 *", "0 8 1,15 * *", "0 8 1,15 * 5", "0 8 */2 * 1", "0 8 1 * */2", "0 8 13 * fri", "0 8 1-7 * 1", "0 8 * 1-3,12 6,7",
    "0 8 * * 0", "0 8 * * 7", "59 23 31 12 *", "0 0 * * *", "0 1 * * *", "30 1 * * *", "0 2 * * *", "30 2 * * *", "59 2 * * *",
    "0,30 2 * * *", "*/20 2 * * *", "5 */2 * * *", "10 0,1,2,3 * * *", "0 3 * * *", "30 3 * * *", "45 23 * * *", "30 0 * * *",
    "* 2 * * *", "30 * * * *", "30 0-23 * * *", "0-59 2 * * *", "0 2 8 3 *", "30 2 * 3,11 sun",
    "0 8 30 2 *", "0 8 31 4,6,9,11 *",
]

# A year and some days without a change of the clocks, and days around changes: an hour forth and back, half an hour, at midnight, a day.
WINDOWS = [
    ("America/Sao_Paulo", "2026-01-01", "2027-02-10"), ("America/Manaus", "2027-12-20", "2028-03-10"),
    ("America/New_York", "2026-03-07", "2026-03-10"), ("America/New_York", "2026-10-31", "2026-11-03"),
    ("Europe/Lisbon", "2026-03-28", "2026-03-31"), ("Europe/Lisbon", "2026-10-24", "2026-10-27"),
    ("America/Sao_Paulo", "2018-11-03", "2018-11-06"), ("America/Sao_Paulo", "2018-02-17", "2018-02-20"),
    ("Australia/Lord_Howe", "2026-10-03", "2026-10-06"), ("Australia/Lord_Howe", "2026-04-04", "2026-04-07"),
    ("America/Asuncion", "2023-09-30", "2023-10-03"), ("Pacific/Apia", "2011-12-28", "2012-01-02"),
]
STARTS_MAX = 40


def compiled(source, folder):
    (folder / "driver.c").write_text(DRIVER)
    quiet = ["gcc", "-w", "-std=gnu89", "-DPOSIX", "-DDEBUGGING=0", "-D_GNU_SOURCE", f"-I{source}", "-c"]
    ours = ["-Dacquire_daemonlock=a", "-Dset_cron_uid=b", "-Dset_cron_cwd=c"]
    for file, more in ((folder / "driver.c", []), (source / "entry.c", []), (source / "env.c", []), (source / "misc.c", ours)):
        subprocess.run([*quiet, *more, file, "-o", folder / f"{file.stem}.o"], check=True)
    program = folder / "driver"
    subprocess.run(["gcc", "-o", program, *(folder / f"{name}.o" for name in ("driver", "entry", "env", "misc"))], check=True)
    return program


def minutes(date, zone):
    return int(datetime.datetime.fromisoformat(date).replace(tzinfo=zoneinfo.ZoneInfo(zone)).timestamp()) // 60


def main():
    source = pathlib.Path(sys.argv[1]).resolve()
    version = (source / "debian/changelog").read_text().split("(")[1].split(")")[0]
    print(f"# Debian's cron {version}, its own entry.c and cron.c compiled and run. Written by cron.py, which stands beside this file.")
    print("# field\twhich of the five, from 0\twhat it holds\tok or refused")
    print("# starts\tzone\tfrom\tuntil\tschedule\tminutes since 1970 at which it starts a job, each after the first as its distance"
          f" from the one before; at most {STARTS_MAX}")
    with tempfile.TemporaryDirectory() as folder:
        program = compiled(source, pathlib.Path(folder))
        written = list(itertools.product(range(5), WRITTEN))
        lines = [" ".join(text if place == field else "*" for place in range(5)) for field, text in written]
        answer = subprocess.run([program], input="\n".join(lines) + "\n", capture_output=True, text=True, check=True)
        for (field, text), taken in zip(written, answer.stdout.split(), strict=True):
            print(f"field\t{field}\t{text}\t{'ok' if taken == '1' else 'refused'}")
        for zone, begin, until in WINDOWS:
            first, last = minutes(begin, zone), minutes(until, zone)
            for schedule in SCHEDULES:
                # One job at a time: cron sleeps 10 s after others that it caught up. It has run the jobs of the minute in which it
                # starts, so it starts a minute before.
                answer = subprocess.run(
                    [program, "run", str(first - 1), str(last)], input=f"{schedule}\n", capture_output=True, text=True, check=True,
                    env={**os.environ, "TZ": zone})
                listed = sorted({int(line.split("\t")[1]) for line in answer.stdout.splitlines()})[:STARTS_MAX]
                steps = [listed[0], *(b - a for a, b in itertools.pairwise(listed))] if listed else []
                print(f"starts\t{zone}\t{first}\t{last}\t{schedule}\t{' '.join(map(str, steps))}")


main()
