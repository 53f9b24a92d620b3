# Installs RabbitMQ, PostgreSQL, Prometheus and Alertmanager (for amtool) on Debian without starting them as services: the tests start their own instances.
# Debian's maintainer scripts ask /usr/sbin/policy-rc.d (101 = "don't"); whatever stood there is put back, on a failure or a signal too.
set -eu
policy=/usr/sbin/policy-rc.d
kept=$policy.before-regua

put_back() {
    rm -f "$policy"
    if [ -e "$kept" ] || [ -L "$kept" ]; then
        mv "$kept" "$policy"
    fi
}
trap put_back EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

# A file kept by a run that was killed is the original; don't overwrite it with ours.
if [ ! -e "$kept" ] && [ ! -L "$kept" ] && { [ -e "$policy" ] || [ -L "$policy" ]; }; then
    mv "$policy" "$kept"
fi
printf '#!/bin/sh\nexit 101\n' >"$policy"
chmod 755 "$policy"

export DEBIAN_FRONTEND=noninteractive
apt-get update -q
apt-get install -q -y --no-install-recommends -o DPkg::Lock::Timeout=300 rabbitmq-server postgresql prometheus prometheus-alertmanager
