# What the clips are: composed corpora are made first; annotation files become a manifest.


rule compose_corpus:
    input:
        unpack(inputs(corpora.compose_corpus)),
    output:
        update(f"{WORK}/{{scale}}/corpora/{{corpus}}/composed/COMPOSED.md"),
    log:
        "logs/{scale}/corpora/{corpus}/compose.log",
    benchmark:
        f"{WORK}/{{scale}}/benchmarks/corpora/{{corpus}}/compose.tsv"
    conda:
        "../envs/environment.yaml"
    threads: threads_of("composition")
    resources:
        **asks("composition"),
    params:
        **job(corpora.compose_corpus),
    message:
        "Composing the corpus {wildcards.corpus}"
    script:
        "execute.py"


rule annotate_corpus:
    input:
        unpack(inputs(corpora.annotate_corpus)),
    output:
        update(f"{WORK}/{{scale}}/corpora/{{corpus}}/manifest.parquet"),
    log:
        "logs/{scale}/corpora/{corpus}/annotate.log",
    benchmark:
        f"{WORK}/{{scale}}/benchmarks/corpora/{{corpus}}/annotate.tsv"
    conda:
        "../envs/environment.yaml"
    threads: threads_of("annotation")
    resources:
        **asks("annotation"),
    params:
        **job(corpora.annotate_corpus),
    message:
        "Reading the annotations of {wildcards.corpus}"
    script:
        "execute.py"
