#!/usr/bin/env bash
# Puts the jars of a Kafka broker into .test/kafka/jars and prints that folder. Maven resolves them from pom.xml,
# where the versions are pinned. BELLWETHER_TEST_KAFKA_JARS names another folder to use or to fill.
set -euo pipefail
here="$(cd "$(dirname "$0")" && pwd)"
. "$here/../say.sh"

jars="${BELLWETHER_TEST_KAFKA_JARS:-$here/../../.test/kafka/jars}"
mkdir -p "$(dirname "$jars")"
jars="$(cd "$(dirname "$jars")" && pwd)/$(basename "$jars")"
if [ ! -f "$jars/pom.xml" ] || ! cmp -s "$here/pom.xml" "$jars/pom.xml"; then
    need java "Java 17 or newer: apt-get install openjdk-17-jre-headless"
    need mvn "Maven: apt-get install maven"
    aside="$(mktemp -d "$jars-XXXXXX")"
    trap 'rm -rf "$aside"' EXIT
    mvn --quiet --batch-mode -Dstyle.color=never --file "$here/pom.xml" \
        org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies \
        -DincludeScope=runtime -DoutputDirectory="$aside" >&2 ||
        die "Maven could not fetch Kafka" "check that Maven Central, or the mirror in ~/.m2/settings.xml, can be reached"
    # The pom beside the jars says which versions they are; a changed pin fetches again.
    cp "$here/pom.xml" "$aside/pom.xml"
    chmod 755 "$aside"
    rm -rf "$jars"
    mv "$aside" "$jars"
fi
echo "$jars"
